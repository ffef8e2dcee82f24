// The contender of `benchmarks.overlap` for nostr-tools: `node overlap.mjs EVENTS SUBSCRIPTION FILTER URL...` prints its
// figures as JSON. It runs in a folder in which nostr-tools, nostr-wasm and ws are installed.
//
// It is nostr-tools' pool with the verification in WebAssembly, the fastest way in its documentation.

import { AbstractSimplePool } from "nostr-tools/abstract-pool";
import { setNostrWasm, verifyEvent } from "nostr-tools/wasm";
import { initNostrWasm } from "nostr-wasm";
import WebSocket from "ws";

const [count, id, filter, ...urls] = process.argv.slice(2);
setNostrWasm(await initNostrWasm());
const pool = new AbstractSimplePool({ verifyEvent, websocketImplementation: WebSocket });
await Promise.all(urls.map((url) => pool.ensureRelay(url)));

const ids = [];
let latest = 0;
const used = process.cpuUsage();
const began = performance.now();
await new Promise((resolve) => {
  pool.subscribe(urls, JSON.parse(filter), {
    id,
    maxWait: 60_000, // without it, a relay counts as at its EOSE after 4.4 s
    onevent: (event) => {
      ids.push(event.id);
      latest = performance.now();
    },
    oneose: resolve,
  });
});
const ended = performance.now();
const { user, system } = process.cpuUsage(used);
const distinct = new Set(ids).size;
if (ids.length !== Number(count) || distinct !== ids.length) {
  console.error(`${ids.length} events were delivered, ${distinct} distinct ones`);
  process.exit(1);
}
console.log(JSON.stringify({ new: (latest - began) / 1e3, eose: (ended - began) / 1e3, processor: (user + system) / 1e6 }));
process.exit(0);

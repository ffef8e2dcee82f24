"""What an actor of this library may be relied on to do, rule by rule, and the tests that show each.

``python -m tests.otp.rules`` prints it; test_rules.py checks that the tests are there.
"""

import sys
import textwrap
from typing import Final, NamedTuple


class Rule(NamedTuple):
    """A rule, and the tests that show it best: file and function, below tests/otp or tests."""

    text: str
    tests: tuple[str, ...]


class Section(NamedTuple):
    """What belongs together."""

    title: str
    rules: list[Rule]


def rule(text: str, *tests: str) -> Rule:
    return Rule(text, tests)


REASONS = Section(
    "Reasons",
    [
        rule(
            "Every process ends with a reason: a named one, Shutdown(x), or any value at all.",
            "test_terminate.py::test_terminate_runs_on_a_stop_with_its_reason",
            "test_terminate.py::test_stop_returns_when_the_server_ends_with_the_reason_that_was_given_whatever_it_is",
        ),
        rule(
            "The reason of a callback that raises is the exception object that was raised.",
            "test_links.py::test_an_exception_goes_through_links_as_that_very_exception",
            "test_calls.py::test_a_crash_is_told_to_the_caller_as_that_very_exception",
        ),
        rule(
            "That exception can still tell where it was raised.",
            "test_calls.py::test_a_crash_can_still_tell_where_it_was_raised",
        ),
        rule(
            "is_clean accepts NORMAL, SHUTDOWN and Shutdown(x), and nothing else.",
            "test_supervisor.py::test_clean_reasons_are_normal_shutdown_and_shutdown_with_a_reason_and_no_others",
        ),
        rule(
            "Whether a transient child comes back depends on is_clean of its reason, and on nothing else.",
            "test_supervisor.py::test_what_is_clean_decides_whether_a_transient_child_comes_back",
        ),
        rule(
            "Delays, timeouts and shutdown times count seconds.",
            "test_timeouts.py::test_send_after_delivers_by_the_machines_clock",
            "test_supervisor.py::test_a_stop_returns_within_200_ms_of_the_shutdown_time_though_the_child_never_ends_its_callback",
            "test_supervisor.py::test_a_restart_counts_for_max_seconds_and_not_longer",
        ),
    ],
)

START = Section(
    "Server: start and init",
    [
        rule(
            "start waits for init, and then gives the pid.",
            "test_start.py::test_start_returns_the_pid_when_init_has_returned_and_not_before",
        ),
        rule(
            "start does not wait for the continue of init.",
            "test_start.py::test_a_continue_of_init_runs_after_start_has_returned",
        ),
        rule(
            "The continue of init precedes whatever waits in the mailbox.",
            "test_start.py::test_a_continue_of_init_runs_before_any_queued_message",
        ),
        rule(
            "An init that ignores makes start return IGNORE.",
            "test_start.py::test_an_ignored_start_returns_ignore_and_leaves_no_name",
        ),
        rule(
            "A process whose init ignores ends with NORMAL.",
            "test_start.py::test_an_ignored_start_is_a_process_that_ends_normally",
            "test_start.py::test_an_ignored_start_link_is_a_normal_exit_to_a_parent_that_traps",
        ),
        rule(
            "An init that stops is a StartError with the reason of the Stop.",
            "test_start.py::test_an_init_that_stops_is_a_start_error_with_its_reason",
        ),
        rule(
            "An init that raises is a StartError whose reason is what it raised.",
            "test_start.py::test_an_init_that_raises_gives_that_very_exception_with_its_traceback",
            "test_start.py::test_whatever_init_raises_is_told_to_the_starter_and_harms_nobody_else",
        ),
        rule(
            "An init that returns something else is a StartError of BadReturnValue with that value.",
            "test_start.py::test_an_init_that_returns_another_value_is_a_bad_return_value",
        ),
        rule(
            "Where a class has no init, its argument becomes the state.",
            "test_start.py::test_a_class_without_init_has_its_argument_as_the_state",
        ),
        rule(
            "An init that does not succeed is not followed by terminate.",
            "test_start.py::test_terminate_never_runs_after_a_failed_init",
        ),
        rule(
            "A failing init ends the one that called start_link, unless that traps exits.",
            "test_start.py::test_start_link_with_a_failing_init_ends_a_parent_that_does_not_trap_with_the_inner_reason",
            "test_start.py::test_a_parent_that_does_not_trap_dies_of_a_failing_init_even_if_it_catches_the_start_error",
        ),
        rule(
            "One that traps exits gets an Exit of the child whose init failed.",
            "test_start.py::test_start_link_with_a_failing_init_tells_a_parent_that_traps_and_raises_there",
        ),
        rule(
            "start_link raises the StartError besides, whether its caller traps or not.",
            "test_start.py::test_start_link_with_a_failing_init_tells_a_parent_that_traps_and_raises_there",
            "test_start.py::test_a_parent_that_does_not_trap_dies_of_a_failing_init_even_if_it_catches_the_start_error",
        ),
        rule(
            "A parent that lets this error through ends with what init failed with: the reason itself by the signal, "
            "or, if it traps, the error that carries it.",
            "test_start.py::test_start_link_with_a_failing_init_ends_a_parent_that_does_not_trap_with_the_inner_reason",
            "test_start.py::test_a_start_error_left_uncaught_ends_a_trapping_parent_with_the_inner_reason",
        ),
        rule(
            "start, without a link, does no harm to its caller when init fails.",
            "test_start.py::test_start_with_a_failing_init_harms_no_parent",
        ),
        rule(
            "An init that takes longer than start's timeout is a StartError of TIMEOUT, and its process is killed.",
            "test_start.py::test_a_start_timeout_is_a_start_error_and_kills_the_process_and_frees_the_name",
        ),
        rule(
            "What such an init sends, registers or returns afterwards reaches nobody.",
            "test_start.py::test_nothing_of_a_start_that_timed_out_arrives_later",
            "test_start.py::test_a_start_that_timed_out_is_told_once_whatever_its_init_returns_later",
            "test_start.py::test_a_start_link_that_times_out_leaves_its_parent_alive_and_without_an_exit",
        ),
        rule(
            "A server has its name in init already, and can look itself up there.",
            "test_start.py::test_a_server_finds_itself_by_its_name_in_init",
            "test_start.py::test_a_server_finds_itself_by_its_via_in_init",
            "test_start.py::test_a_name_is_taken_from_before_init_on",
        ),
        rule(
            "When start tells that init failed or ignored, the name can be taken by another.",
            "test_start.py::test_a_name_is_free_again_when_a_failed_or_ignored_start_has_returned",
        ),
        rule(
            "A start with a name that is held raises AlreadyStarted with the holder, and calls no init.",
            "test_start.py::test_a_taken_name_is_already_started_and_the_second_init_never_runs",
            "test_start.py::test_a_taken_via_name_is_already_started_and_the_second_init_never_runs",
        ),
        rule(
            "Such a start_link sends its caller no exit.",
            "test_start.py::test_a_taken_name_sends_no_exit_to_the_linking_process",
        ),
        rule(
            "A name may be left out, a string, or a key in a registry.",
            "test_names.py::test_a_name_may_be_taken_for_none_a_string_or_a_via",
        ),
        rule(
            "A via may give the value to register; else it is None.",
            "test_names.py::test_a_via_name_serves_wherever_a_pid_does",
            "test_names.py::test_a_via_without_a_value_registers_none",
        ),
        rule(
            "Any other kind of name is a TypeError where start is called.",
            "test_start.py::test_another_kind_of_name_is_a_type_error_in_the_caller",
            "test_start.py::test_a_type_error_for_a_name_harms_no_parent",
        ),
        rule(
            "Unless it says otherwise, a class is a permanent worker with itself as the id and 5 s to shut down.",
            "test_start.py::test_the_default_child_spec_is_a_permanent_worker_with_the_class_as_id_and_5_seconds",
        ),
        rule(
            "Such a child is started by start_link with its argument.",
            "test_start.py::test_the_default_child_spec_starts_with_start_link_and_the_argument",
        ),
    ],
)

CALLS = Section(
    "Server: calls, casts and messages",
    [
        rule(
            "A call waits for 5 seconds if nothing else is said.",
            "test_calls.py::test_a_call_waits_5_seconds_by_default",
        ),
        rule(
            "A call that takes longer raises CallTimeout, a TimeoutError that tells target, request and timeout.",
            "test_calls.py::test_a_call_timeout_names_target_request_and_timeout_and_leaves_the_server_unharmed",
        ),
        rule(
            "The server does not suffer from a caller that gave up.",
            "test_calls.py::test_a_call_timeout_names_target_request_and_timeout_and_leaves_the_server_unharmed",
            "test_calls.py::test_a_call_that_is_broken_off_by_ctrl_c_leaves_the_server_unharmed_and_gets_no_late_reply",
        ),
        rule(
            "A reply that comes too late is lost: no later call and no mailbox gets it.",
            "test_calls.py::test_a_late_reply_reaches_nobody_and_later_calls_get_their_own",
            "test_calls.py::test_a_late_return_value_reaches_nobody_and_later_calls_get_their_own",
        ),
        rule(
            "Calling nobody raises NoProcess, a LookupError, without waiting.",
            "test_calls.py::test_a_call_to_the_dead_or_unknown_is_no_process_and_a_lookup_error_at_once",
        ),
        rule(
            "A server that calls itself, however it names itself, gets CallingSelf without waiting.",
            "test_calls.py::test_calling_oneself_ends_at_once_by_pid_name_and_via",
        ),
        rule(
            "The caller of a server that ends before it replies gets CallExit with the reason.",
            "test_calls.py::test_a_server_that_ends_during_the_call_is_call_exit_with_its_reason",
            "test_calls.py::test_a_call_that_waits_behind_the_end_of_its_server_is_call_exit",
            "test_stress.py::test_every_call_that_races_a_stop_or_a_kill_ends_once_with_its_reply_or_an_exit",
        ),
        rule(
            "A server that catches none of these errors in its callback crashes with it.",
            "test_calls.py::test_a_call_error_left_uncaught_ends_the_calling_server_with_it",
        ),
        rule(
            "A Stop that does not reply is CallExit with its reason to the caller, NORMAL not excepted.",
            "test_calls.py::test_stop_without_a_reply_is_call_exit_even_when_normal",
        ),
        rule(
            "A Stop that replies: first terminate, next the reply, last the exit.",
            "test_calls.py::test_stop_with_a_reply_runs_terminate_first_then_replies_then_exits",
            "test_calls.py::test_the_reply_of_a_stop_is_not_delivered_before_terminate_has_ended",
        ),
        rule(
            "Whoever has from_ can reply: another actor, a plain thread, a callback that comes later.",
            "test_calls.py::test_any_thread_may_answer_a_call",
            "test_calls.py::test_another_actor_may_answer_a_call",
            "test_calls.py::test_a_call_may_be_answered_from_a_later_callback",
        ),
        rule(
            "Of several replies the caller gets the first.",
            "test_calls.py::test_the_first_reply_wins_and_later_ones_never_surface",
            "test_calls.py::test_of_many_threads_that_reply_one_wins_and_the_others_are_unharmed",
        ),
        rule(
            "The other replies are seen nowhere.",
            "test_calls.py::test_the_first_reply_wins_and_later_ones_never_surface",
            "test_calls.py::test_a_reply_after_a_stop_that_replied_goes_nowhere",
        ),
        rule(
            "The caller has the reply before the continue that goes with it begins.",
            "test_timeouts.py::test_the_reply_is_delivered_before_the_continue_runs",
        ),
        rule(
            "A continue may ask for another, and all of them precede what is queued.",
            "test_timeouts.py::test_a_continue_runs_before_queued_messages_and_continues_chain",
            "test_timeouts.py::test_ten_thousand_continues_chain_before_a_message_that_waits",
        ),
        rule(
            "A continue may end the server.",
            "test_timeouts.py::test_a_continue_may_stop",
        ),
        rule(
            "What is cast or sent to nobody is lost without a word.",
            "test_calls.py::test_casts_and_sends_to_the_dead_and_unknown_are_silently_nothing",
        ),
        rule(
            "A server without the callback for a call, a cast or a continue dies of it and tells which is missing.",
            "test_calls.py::test_a_callback_that_is_not_there_ends_the_server_saying_so",
        ),
        rule(
            "A message without a handle_info is one record in the log, and the server goes on.",
            "test_calls.py::test_a_message_that_is_not_handled_is_one_warning_and_the_server_lives",
        ),
        rule(
            "A NotImplementedError or AttributeError of a callback is not taken for a callback that is missing.",
            "test_calls.py::test_an_error_of_user_code_in_a_handler_is_that_error",
            "test_calls.py::test_an_attribute_that_a_handler_does_not_find_is_an_attribute_error",
        ),
        rule(
            "A callback that returns what it may not ends the server with BadReturnValue of that.",
            "test_calls.py::test_a_bad_return_value_is_the_reason_and_terminate_runs",
            "test_calls.py::test_a_bad_return_value_of_handle_call_is_the_reason_and_told_to_the_caller",
        ),
        rule(
            "terminate runs after such a value too.",
            "test_calls.py::test_a_bad_return_value_is_the_reason_and_terminate_runs",
            "test_calls.py::test_a_bad_return_value_of_handle_call_is_the_reason_and_told_to_the_caller",
        ),
    ],
)

REPORTS = Section(
    "Server: crash reports",
    [
        rule(
            "A crash is reported once.",
            "test_calls.py::test_a_crash_is_reported_exactly_once_with_all_that_matters",
            "test_calls.py::test_a_crash_in_any_callback_is_one_report_that_names_it",
            "test_calls.py::test_a_crash_that_spreads_over_links_is_one_report",
        ),
        rule(
            "The report has the server, the message it was handling, its state, the reason with a traceback, and who "
            "called.",
            "test_calls.py::test_a_crash_is_reported_exactly_once_with_all_that_matters",
        ),
        rule(
            "There is no report of an end that is clean.",
            "test_calls.py::test_a_clean_end_is_not_reported",
        ),
        rule(
            "format_status can replace what is secret in the state, in reports and in get_status.",
            "test_calls.py::test_format_status_hides_secrets_from_report_and_status",
            "test_system.py::test_format_status_changes_what_get_status_tells_and_not_the_state",
        ),
        rule(
            "If format_status raises, report and status come as if it were not there.",
            "test_system.py::test_a_format_status_that_raises_loses_nothing_and_is_logged",
            "test_system.py::test_a_format_status_that_raises_costs_no_crash_report",
        ),
        rule(
            "All loggers are below gennostr, and what they log reaches the root.",
            "test_calls.py::test_the_loggers_are_gennostrs_and_propagate",
        ),
        rule(
            "A crash is logged as an error.",
            "test_calls.py::test_a_crash_is_reported_exactly_once_with_all_that_matters",
            "test_calls.py::test_the_loggers_are_gennostrs_and_propagate",
        ),
        rule(
            "A message that nobody handles is logged as a warning.",
            "test_calls.py::test_a_message_that_is_not_handled_is_one_warning_and_the_server_lives",
            "test_calls.py::test_the_loggers_are_gennostrs_and_propagate",
        ),
    ],
)

TIMEOUTS = Section(
    "Timeouts and timers",
    [
        rule(
            "A callback that asks for a timeout has TIMEOUT sent to handle_info once that time has passed idly.",
            "test_timeouts.py::test_a_timeout_may_be_asked_for_by_every_callback_and_comes_as_a_message",
            "test_timeouts.py::test_a_timeout_does_not_come_before_its_time",
        ),
        rule(
            "It comes one time, not every time.",
            "test_timeouts.py::test_a_timeout_comes_once",
        ),
        rule(
            "Whatever message comes first, there is no TIMEOUT any more.",
            "test_timeouts.py::test_any_message_cancels_the_timeout",
        ),
        rule(
            "A system message such as get_state lets the time begin anew, and no more.",
            "test_timeouts.py::test_get_state_and_the_like_restart_a_timeout_and_do_not_cancel_it",
        ),
        rule(
            "With a timeout of 0 a message that waits already is handled instead.",
            "test_timeouts.py::test_a_message_that_is_queued_goes_before_a_timeout_of_0_and_cancels_it",
            "test_timeouts.py::test_a_timeout_of_0_of_init_lets_a_message_that_is_queued_go_first",
        ),
        rule(
            "With a timeout of 0 and nothing in the mailbox TIMEOUT comes immediately.",
            "test_timeouts.py::test_a_timeout_of_0_with_an_empty_mailbox_fires_at_once",
        ),
        rule(
            "send_after returns a timer that delivers the message when it is due.",
            "test_timeouts.py::test_send_after_delivers_a_message_when_it_is_due_and_not_before",
        ),
        rule(
            "cancel_timer tells how long the timer would have run.",
            "test_timeouts.py::test_cancel_timer_returns_the_seconds_left_and_then_none",
        ),
        rule(
            "cancel_timer of a timer that is over returns None.",
            "test_timeouts.py::test_cancelling_a_timer_that_has_fired_is_none",
        ),
        rule(
            "A timer for nobody comes to nothing.",
            "test_timeouts.py::test_timers_to_the_dead_and_the_unknown_vanish",
            "test_timeouts.py::test_a_timer_to_who_dies_meanwhile_vanishes_and_its_name_may_serve_another",
        ),
        rule(
            "A program has a single thread for all of its timers.",
            "test_timeouts.py::test_all_timers_share_one_thread_that_ends_with_the_last_of_them",
        ),
        rule(
            "The clock can be replaced.",
            "test_timeouts.py::test_the_clock_is_installed_and_given_back",
            "test_timeouts.py::test_send_after_delivers_a_message_when_it_is_due_and_not_before",
        ),
        rule(
            "Every outcome that takes a timeout takes hibernate, and comes to the same with it.",
            "test_timeouts.py::test_hibernate_is_accepted_from_every_callback_and_changes_no_result",
        ),
        rule(
            "A server that hibernates runs the garbage collector and then waits.",
            "test_timeouts.py::test_a_server_that_hibernates_collects_garbage_before_it_waits",
        ),
    ],
)

TERMINATE = Section(
    "terminate and stop",
    [
        rule(
            "A Stop is followed by terminate.",
            "test_terminate.py::test_terminate_runs_on_a_stop_with_its_reason",
        ),
        rule(
            "A crash in a callback is followed by terminate.",
            "test_terminate.py::test_terminate_runs_on_a_crash_in_a_callback_with_the_exception_and_the_state_before",
        ),
        rule(
            "A server that is stopped from outside runs terminate.",
            "test_terminate.py::test_terminate_runs_when_stopped_from_outside",
        ),
        rule(
            "A server that traps exits runs terminate when its parent ends; handle_info does not see that Exit.",
            "test_terminate.py::test_the_parents_exit_runs_terminate_where_exits_are_trapped_and_never_reaches_handle_info",
        ),
        rule(
            "An exit signal that is not trapped ends a server without terminate.",
            "test_terminate.py::test_terminate_does_not_run_on_an_exit_signal_to_a_server_that_does_not_trap",
            "test_terminate.py::test_terminate_does_not_run_on_a_linked_exit_to_a_server_that_does_not_trap",
        ),
        rule(
            "A kill ends a server without terminate.",
            "test_terminate.py::test_terminate_does_not_run_on_a_kill",
            "test_kill.py::test_neither_terminate_nor_any_callback_runs_after_a_kill",
        ),
        rule(
            "A server whose init fails has no terminate.",
            "test_start.py::test_terminate_never_runs_after_a_failed_init",
        ),
        rule(
            "trap_exit may be True for all servers of a class.",
            "test_terminate.py::test_trap_exit_may_be_true_on_the_class",
        ),
        rule(
            "trap_exit may be set by a server for itself in any callback.",
            "test_terminate.py::test_trap_exit_may_be_set_in_a_callback",
        ),
        rule(
            "What terminate raises becomes the reason of the end, in place of the one before.",
            "test_terminate.py::test_a_crash_in_terminate_after_a_crash_replaces_that_one",
            "test_terminate.py::test_a_crash_in_terminate_at_the_parents_exit_replaces_that_reason",
        ),
        rule(
            "Whoever stopped the server is told what terminate raised.",
            "test_terminate.py::test_a_crash_in_terminate_replaces_the_reason_and_the_stopper_gets_it",
        ),
        rule(
            "A stop waits its turn behind the messages that are queued.",
            "test_terminate.py::test_stop_is_handled_in_mailbox_order",
            "test_terminate.py::test_a_call_that_was_queued_before_a_stop_is_answered",
        ),
        rule(
            "A stop that takes longer than its timeout raises.",
            "test_terminate.py::test_a_stop_that_times_out_raises_and_the_server_still_stops_later",
        ),
        rule(
            "The server stops nevertheless, when it comes to that.",
            "test_terminate.py::test_a_stop_that_times_out_raises_and_the_server_still_stops_later",
            "test_terminate.py::test_a_stop_that_is_broken_off_by_ctrl_c_still_stops_the_server",
        ),
        rule(
            "Stopping nobody raises NoProcess.",
            "test_terminate.py::test_stopping_the_dead_and_the_unknown_is_no_process_at_once",
        ),
        rule(
            "A server that stops itself from within a callback gets CallingSelf.",
            "test_terminate.py::test_stopping_oneself_is_calling_self_at_once_by_pid_name_and_via",
        ),
    ],
)

SYSTEM = Section(
    "System messages",
    [
        rule(
            "get_state, replace_state, suspend, resume, get_status and statistics take a pid or a name.",
            "test_system.py::test_every_system_message_works_by_pid_by_name_and_by_via_also_while_suspended",
        ),
        rule(
            "A suspended server answers all of them.",
            "test_system.py::test_every_system_message_works_by_pid_by_name_and_by_via_also_while_suspended",
        ),
        rule(
            "get_state returns the state as it is when its turn comes.",
            "test_system.py::test_get_state_is_answered_in_mailbox_order",
            "test_system.py::test_a_state_may_be_any_value",
        ),
        rule(
            "replace_state makes the result of a function of the state the new one.",
            "test_system.py::test_replace_state_sets_the_state_to_what_the_function_returns_and_returns_that",
        ),
        rule(
            "If that function raises, the caller is told, and the server is as it was.",
            "test_system.py::test_a_function_that_raises_leaves_the_state_and_the_server",
        ),
        rule(
            "While a server is suspended its messages stay in the mailbox.",
            "test_system.py::test_messages_of_every_kind_wait_while_suspended_and_keep_their_order",
            "test_system.py::test_downs_trapped_exits_timers_and_proxies_wait_while_suspended",
        ),
        rule(
            "resume lets it handle them, in their order.",
            "test_system.py::test_messages_of_every_kind_wait_while_suspended_and_keep_their_order",
        ),
        rule(
            "get_status tells what a server is: its name, whether it runs, its state, what waits, its children.",
            "test_system.py::test_get_status_tells_name_status_state_messages_and_children",
        ),
        rule(
            "statistics tells since when a server runs, and how many messages came and wait.",
            "test_system.py::test_statistics_count_messages_of_every_kind_and_no_system_messages",
            "test_system.py::test_statistics_tell_since_when_a_server_runs_and_how_many_messages_wait",
        ),
    ],
)

LINKS = Section(
    "Links and monitors",
    [
        rule(
            "The normal end of one that is linked does nothing to who does not trap.",
            "test_links.py::test_a_linked_normal_exit_is_ignored_by_who_does_not_trap",
        ),
        rule(
            "Every other end, by SHUTDOWN too, spreads with its reason to who is linked and does not trap.",
            "test_links.py::test_a_linked_exit_ends_who_does_not_trap_with_the_same_reason",
        ),
        rule(
            "Who traps gets a message instead: Exit, with pid and reason.",
            "test_links.py::test_who_traps_gets_one_exit_and_lives",
        ),
        rule(
            "Two that have linked several times are linked as if once: there is a single Exit.",
            "test_links.py::test_who_traps_gets_one_exit_however_often_linked",
        ),
        rule(
            "A signal NORMAL from another does nothing to who does not trap.",
            "test_links.py::test_exit_normal_from_another_is_ignored_by_who_does_not_trap",
        ),
        rule(
            "A signal NORMAL from another is an Exit to who traps.",
            "test_links.py::test_exit_normal_from_another_is_an_exit_to_who_traps",
        ),
        rule(
            "KILL ends who traps as well.",
            "test_links.py::test_a_kill_cannot_be_trapped_and_is_seen_and_spread_as_killed",
        ),
        rule(
            "Who hears of a kill, or is ended by it over a link, gets KILLED for the reason.",
            "test_links.py::test_a_kill_cannot_be_trapped_and_is_seen_and_spread_as_killed",
        ),
        rule(
            "Monitoring a dead pid gives a Down of that pid with NOPROC.",
            "test_links.py::test_a_monitor_of_the_dead_is_noproc",
        ),
        rule(
            "Monitoring a name that nobody has gives a Down of that name with NOPROC.",
            "test_links.py::test_a_monitor_of_an_unknown_name_is_noproc_with_the_name_that_was_given",
        ),
        rule(
            "Each monitor has a reference and a Down of its own.",
            "test_links.py::test_monitors_stack",
            "test_links.py::test_one_of_several_monitors_can_be_taken_back",
        ),
        rule(
            "A link, made however often, is undone by one unlink.",
            "test_links.py::test_a_link_twice_is_gone_by_one_unlink_from_either_side",
        ),
        rule(
            "demonitor does not take back a Down that waits in the mailbox; with flush it does.",
            "test_links.py::test_demonitor_leaves_a_queued_down_unless_it_flushes",
        ),
        rule(
            "Linking to nobody is an Exit with NOPROC to who traps.",
            "test_links.py::test_linking_to_the_dead_is_an_exit_noproc_to_who_traps",
            "test_links.py::test_linking_to_the_unknown_is_an_exit_noproc_to_who_traps",
        ),
        rule(
            "Linking to nobody raises where exits are not trapped.",
            "test_links.py::test_linking_to_the_dead_and_unknown_is_an_error_to_who_does_not_trap",
        ),
        rule(
            "What one sent to another is in its mailbox before the Exit and the Down that tell of the end of the one.",
            "test_links.py::test_the_messages_of_one_come_before_its_exit_and_its_down",
            "test_links.py::test_a_killed_sender_that_sends_without_pause_is_cut_off_at_its_exit",
            "test_stress.py::test_messages_of_a_killed_sender_never_come_after_its_down",
        ),
        rule(
            "Who has got a Down finds neither the name nor any key of the dead.",
            "test_links.py::test_when_an_exit_or_a_down_has_been_seen_the_dead_has_neither_name_nor_key_and_is_not_alive",
            "test_names.py::test_when_a_down_is_seen_the_name_and_the_keys_are_free",
        ),
    ],
)

KILL = Section(
    "Kill",
    [
        rule(
            "The thread of a killed actor goes on; the actor is cut off from it.",
            "test_kill.py::test_the_thread_ends_when_its_callback_does",
            "test_kill.py::test_a_killed_busy_actor_is_not_alive_and_its_names_and_keys_are_free_at_once",
        ),
        rule(
            "It does not take longer than 200 ms until everybody sees that it is dead.",
            "test_kill.py::test_it_takes_less_than_200_ms_until_everybody_knows",
        ),
        rule(
            "Its pid says that it is not alive.",
            "test_kill.py::test_a_killed_busy_actor_is_not_alive_and_its_names_and_keys_are_free_at_once",
        ),
        rule(
            "Others can have its name and its keys.",
            "test_kill.py::test_a_killed_busy_actor_is_not_alive_and_its_names_and_keys_are_free_at_once",
            "test_kill.py::test_a_replacement_may_run_while_the_old_thread_is_still_busy",
        ),
        rule(
            "What waited in its mailbox is let go.",
            "test_kill.py::test_the_mailbox_of_the_killed_is_dropped",
        ),
        rule(
            "Who is linked to it or monitors it hears of KILLED.",
            "test_kill.py::test_links_monitors_and_callers_are_told_killed_wherever_the_actor_was",
        ),
        rule(
            "Who waits for an answer of it gets CallExit with KILLED.",
            "test_kill.py::test_whoever_waits_for_a_killed_actor_gets_call_exit_killed",
            "test_kill.py::test_a_call_that_was_being_handled_gets_call_exit_killed",
        ),
        rule(
            "Its successor can run beside the thread that is left.",
            "test_kill.py::test_a_replacement_may_run_while_the_old_thread_is_still_busy",
            "test_kill.py::test_a_supervisor_replaces_a_killed_child_while_its_thread_is_still_busy",
        ),
        rule(
            "No function of this library does anything for the thread that is left: no reply, message, key, link or "
            "state comes of it.",
            "test_kill.py::test_nothing_that_an_abandoned_thread_does_has_an_effect",
        ),
        rule(
            "Nothing comes of what its callback returns or raises.",
            "test_kill.py::test_nothing_that_the_callback_of_a_killed_actor_comes_to_has_an_effect",
            "test_kill.py::test_nothing_that_the_init_of_a_killed_actor_comes_to_has_an_effect",
        ),
        rule(
            "on_cancel is called by the thread that kills, and may wake the one that is blocked.",
            "test_kill.py::test_on_cancel_runs_in_the_killers_thread_when_all_else_is_done_and_can_unblock_the_callback",
            "test_kill.py::test_on_cancel_of_a_child_runs_in_the_thread_of_the_supervisor_that_kills_it",
        ),
        rule(
            "A killed connection lets go of its socket in this way.",
            "client/test_tree.py::test_a_killed_connection_is_one_error_and_one_disconnect_and_harms_no_other_relay",
        ),
        rule(
            "The thread is over when what it is blocked in has returned.",
            "test_kill.py::test_the_thread_ends_when_its_callback_does",
        ),
        rule(
            "As long as there are such threads, abandoned() counts them.",
            "test_kill.py::test_the_threads_that_are_left_are_counted_until_they_end",
        ),
        rule(
            "Each that stays for a while is logged.",
            "test_kill.py::test_a_thread_that_is_still_busy_after_a_while_is_logged_exactly_once_and_names_the_actor",
            "test_kill.py::test_each_thread_that_is_still_busy_is_logged",
        ),
        rule(
            "The limitations in the README say what a kill is not.",
            "test_readme.py::test_the_limitations_say_what_a_kill_is_and_when_an_exit_signal_takes_effect",
        ),
        rule(
            "A busy actor that does not trap finishes its callback before an exit signal ends it, and handles no more.",
            "test_links.py::test_an_exit_signal_to_a_busy_actor_that_does_not_trap_takes_effect_at_its_next_message",
            "test_links.py::test_a_linked_exit_to_a_busy_actor_that_does_not_trap_takes_effect_at_its_next_message",
        ),
    ],
)

SPECS = Section(
    "Supervisor: what it is asked for",
    [
        rule(
            "A child has an id and a start: the id may be any key, the start is called.",
            "test_child_spec.py::test_an_id_is_anything_that_can_be_a_key",
            "test_child_spec.py::test_a_bad_field_is_rejected_naming_field_and_value",
        ),
        rule(
            "restart is permanent, unless it is given as transient or temporary.",
            "test_child_spec.py::test_the_fields_that_may_be_left_out_have_defaults",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
        ),
        rule(
            "shutdown is a number of seconds, without end, or an immediate kill.",
            "test_child_spec.py::test_shutdown_is_seconds_or_infinity_or_brutal_kill",
            "test_supervisor.py::test_a_brutal_kill_gives_no_time",
            "test_supervisor.py::test_a_shutdown_time_without_end_waits_until_the_child_is_down",
        ),
        rule(
            "shutdown is 5 where it is left out; a child that supervises has all the time it wants.",
            "test_child_spec.py::test_shutdown_is_5_seconds_by_default_and_for_supervisors_infinity",
        ),
        rule(
            "type tells workers from supervisors.",
            "test_supervisor.py::test_which_children_is_newest_first_and_tells_id_pid_type_and_start",
            "test_child_spec.py::test_the_child_spec_of_a_supervisor_says_that_it_is_one",
        ),
        rule(
            "significant is off by default, and needs a supervisor with auto_shutdown.",
            "test_child_spec.py::test_the_fields_that_may_be_left_out_have_defaults",
            "test_child_spec.py::test_a_significant_child_needs_an_auto_shutdown",
        ),
        rule(
            "The strategy is one_for_one, one_for_all or rest_for_one; the first by default.",
            "test_supervisor.py::test_a_strategy_stops_its_victims_in_reverse_and_starts_them_in_order",
            "test_child_spec.py::test_the_flags_have_defaults",
        ),
        rule(
            "3 restarts in 5 seconds are allowed by default.",
            "test_supervisor.py::test_the_default_intensity_is_3_restarts_in_5_seconds",
        ),
        rule(
            "auto_shutdown is never, by default, or goes by any or all of the significant children.",
            "test_supervisor.py::test_never_is_the_default_and_a_supervisor_outlives_all_of_its_children",
            "test_supervisor.py::test_any_significant_ends_the_supervisor_with_the_first_final_end",
            "test_supervisor.py::test_all_significant_ends_the_supervisor_with_the_last_final_end",
        ),
        rule(
            "A value that a field or flag cannot have is refused with an error that tells which and what.",
            "test_child_spec.py::test_a_bad_field_is_rejected_naming_field_and_value",
            "test_child_spec.py::test_a_bad_flag_is_rejected_naming_field_and_value",
            "test_child_spec.py::test_a_bad_flag_of_a_dynamic_supervisor_is_rejected_naming_field_and_value",
        ),
        rule(
            "A supervisor that is asked for the impossible goes on as before.",
            "test_child_spec.py::test_what_is_no_child_is_rejected_in_the_caller_and_the_supervisor_is_unharmed",
            "test_child_spec.py::test_a_bad_spec_made_in_a_process_ends_only_that_process",
            "test_child_spec.py::test_a_significant_child_needs_an_auto_shutdown",
        ),
        rule(
            "Two children cannot have equal ids.",
            "test_child_spec.py::test_duplicate_ids_are_refused_and_nothing_starts",
        ),
    ],
)

CHILDREN = Section(
    "Supervisor: starting and stopping children",
    [
        rule(
            "Each child is started when the one listed before it runs.",
            "test_supervisor.py::test_a_child_starts_when_the_one_before_it_has_started",
            "test_supervisor.py::test_children_start_in_order_and_stop_in_exact_reverse_with_shutdown",
        ),
        rule(
            "Each child is stopped when the one listed after it is down.",
            "test_supervisor.py::test_a_child_stops_when_the_one_after_it_is_down",
            "test_supervisor.py::test_a_tree_stops_in_exact_reverse_of_its_start",
        ),
        rule(
            "They are stopped with SHUTDOWN.",
            "test_supervisor.py::test_children_start_in_order_and_stop_in_exact_reverse_with_shutdown",
            "test_supervisor.py::test_a_child_that_does_not_trap_exits_stops_without_terminate",
        ),
        rule(
            "A child that has not stopped when its own shutdown time is over is killed.",
            "test_supervisor.py::test_a_child_that_does_not_stop_in_its_shutdown_time_is_killed",
            "test_supervisor.py::test_each_child_has_a_shutdown_time_of_its_own",
        ),
        rule(
            "which_children lists the children that were started last first.",
            "test_supervisor.py::test_which_children_is_newest_first_and_tells_id_pid_type_and_start",
        ),
        rule(
            "count_children counts those that are kept, those that run, the supervisors and the workers among them.",
            "test_supervisor.py::test_count_children_counts_specs_active_supervisors_and_workers",
        ),
        rule(
            "If a child cannot be started, those that run are stopped again, last first, and no other is begun.",
            "test_supervisor.py::test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start",
            "test_supervisor.py::test_wherever_the_child_stands_that_fails_at_init",
        ),
        rule(
            "The StartError of it carries Shutdown(FailedToStartChild), which tells the child's id and failure.",
            "test_supervisor.py::test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start",
        ),
        rule(
            "That start leaves no thread behind.",
            "test_supervisor.py::test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start",
        ),
        rule(
            "A child that ignores is listed without a pid; a temporary one is forgotten.",
            "test_supervisor.py::test_a_child_that_ignores_is_kept_without_a_pid_unless_temporary",
        ),
        rule(
            "Who starts or restarts a child that ignores by request gets IGNORE.",
            "test_supervisor.py::test_start_child_and_restart_child_return_ignore_and_keep_the_child_without_a_pid",
            "test_supervisor.py::test_start_child_of_a_temporary_child_that_ignores_returns_ignore_and_does_not_keep_it",
        ),
    ],
)

RESTARTS = Section(
    "Supervisor: restarts",
    [
        rule(
            "A permanent child is started again however it ended.",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
        ),
        rule(
            "A transient child is started again when it failed; when it did not, it is listed without a pid.",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
            "test_supervisor.py::test_a_shutdown_signal_to_a_transient_child_is_a_clean_end",
        ),
        rule(
            "A temporary child is not started again, and is listed no more.",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
        ),
        rule(
            "The siblings that one_for_all and rest_for_one restart too go down last first and come up first first.",
            "test_supervisor.py::test_a_strategy_stops_its_victims_in_reverse_and_starts_them_in_order",
        ),
        rule(
            "An end that is followed by no restart of the child is followed by none of its siblings.",
            "test_supervisor.py::test_a_temporary_childs_crash_and_a_transients_clean_end_touch_no_sibling",
        ),
        rule(
            "A temporary sibling that is stopped for a restart does not come back, and is listed no more.",
            "test_supervisor.py::test_temporary_victims_are_stopped_and_dropped",
        ),
        rule(
            "one_for_all starts siblings, too, that did not run when the child failed.",
            "test_supervisor.py::test_siblings_that_had_ended_are_revived_with_the_victims",
        ),
        rule(
            "A supervisor that would have to restart too often stops its children and ends with SHUTDOWN.",
            "test_supervisor.py::test_more_than_max_restarts_stop_the_children_in_reverse_and_the_supervisor_with_shutdown",
            "test_supervisor.py::test_a_restart_counts_for_max_seconds_and_not_longer",
        ),
        rule(
            "A restart that does not succeed is followed by the next without a pause.",
            "test_supervisor.py::test_failed_tries_count_for_max_seconds_too",
            "test_supervisor.py::test_whatever_a_restart_raises_it_is_tried_again",
        ),
        rule(
            "Each try counts as a restart: there are as many as max_restarts says, not one more.",
            "test_supervisor.py::test_a_restart_that_fails_is_tried_again_and_each_try_counts",
            "test_supervisor.py::test_restarts_and_failed_tries_count_together",
        ),
        rule(
            "one_for_all stops whom it has restarted when the next fails, and begins with the first again.",
            "test_supervisor.py::test_one_for_all_first_stops_those_already_restarted_and_starts_over_when_a_restart_fails",
        ),
        rule(
            "rest_for_one leaves whom it has restarted, and goes on with the one that failed.",
            "test_supervisor.py::test_rest_for_one_keeps_those_already_restarted_and_retries_from_the_failing_child",
        ),
        rule(
            "Between two tries a supervisor does what it is asked.",
            "test_supervisor.py::test_while_it_is_trying_the_supervisor_answers_its_other_requests",
        ),
    ],
)

REQUESTS = Section(
    "Supervisor: requests",
    [
        rule(
            "start_child adds a child behind the others and gives its pid.",
            "test_supervisor.py::test_start_child_starts_after_the_others_and_returns_the_pid",
        ),
        rule(
            "start_child with the id of a child that runs raises AlreadyStarted with its pid; with that of one that is "
            "only listed, AlreadyPresent.",
            "test_supervisor.py::test_start_child_refuses_an_id_that_is_taken",
        ),
        rule(
            "start_child raises what the child failed with, and forgets the child.",
            "test_supervisor.py::test_start_child_raises_the_childs_failure_and_does_not_keep_it",
        ),
        rule(
            "restart_child refuses a child that runs.",
            "test_supervisor.py::test_restart_child_starts_what_was_terminated_or_had_ended_in_its_old_place",
        ),
        rule(
            "restart_child and delete_child refuse a child that is being restarted.",
            "test_supervisor.py::test_a_child_under_restart_is_neither_restarted_nor_deleted_nor_started_by_request",
        ),
        rule(
            "An id that no child has is ChildNotFound to restart_child and to delete_child.",
            "test_supervisor.py::test_an_unknown_id_is_child_not_found_and_that_is_a_lookup_error",
        ),
        rule(
            "terminate_child of a child that does not run changes nothing.",
            "test_supervisor.py::test_terminate_child_is_idempotent_and_keeps_the_spec",
        ),
        rule(
            "delete_child refuses a child that runs.",
            "test_supervisor.py::test_delete_child_needs_a_child_that_does_not_run",
        ),
    ],
)

SUPERVISORS_END = Section(
    "Supervisor: its own end",
    [
        rule(
            "When its parent ends, a supervisor stops its children as ever and ends with the parent's reason.",
            "test_supervisor.py::test_the_parents_exit_stops_it_in_order_with_the_same_reason",
            "test_supervisor.py::test_the_parents_death_by_a_signal_or_a_kill_stops_it_in_order_too",
        ),
        rule(
            "The exit of anybody else is put in the log, and changes nothing.",
            "test_supervisor.py::test_a_strangers_exit_is_logged_and_ignored",
        ),
        rule(
            "A message that is none of its business is put in the log, and changes nothing.",
            "test_supervisor.py::test_a_strangers_messages_are_logged_and_ignored",
        ),
        rule(
            "When a supervisor is killed, children that trap exits run terminate with KILLED, and the others just die.",
            "test_supervisor.py::test_killed_its_trapping_children_run_terminate_and_the_others_die",
        ),
        rule(
            "A significant child counts when it ends by itself and does not come back: a transient one by a clean end.",
            "test_supervisor.py::test_any_significant_ends_the_supervisor_with_the_first_final_end",
            "test_supervisor.py::test_all_significant_ends_the_supervisor_with_the_last_final_end",
        ),
        rule(
            "A significant child that is temporary counts however it ends.",
            "test_supervisor.py::test_any_significant_ends_the_supervisor_with_the_first_final_end",
            "test_supervisor.py::test_all_significant_ends_the_supervisor_with_the_last_final_end",
        ),
        rule(
            "terminate_child of a significant child does not count.",
            "test_supervisor.py::test_terminate_child_does_not_count_as_a_significant_end",
            "test_supervisor.py::test_terminate_child_of_a_child_under_restart_does_not_count_as_a_significant_end",
        ),
        rule(
            "A significant child that is stopped for the restart of another does not count.",
            "test_supervisor.py::test_a_siblings_restart_does_not_count_as_a_significant_end",
        ),
    ],
)

DYNAMIC = Section(
    "Dynamic supervisor",
    [
        rule(
            "It forgets the ids of its children.",
            "test_dynamic_supervisor.py::test_ids_are_not_kept_and_may_be_the_same",
        ),
        rule(
            "start_child returns the pid.",
            "test_dynamic_supervisor.py::test_start_child_returns_the_pid_of_a_child_without_an_id",
        ),
        rule(
            "start_child of a child that ignores returns IGNORE and leaves nothing.",
            "test_dynamic_supervisor.py::test_a_child_that_ignores_is_not_kept",
        ),
        rule(
            "start_child of a child that fails raises what it failed with.",
            "test_dynamic_supervisor.py::test_start_child_raises_the_childs_failure_and_does_not_keep_it",
        ),
        rule(
            "start_child of what is no child raises in the caller.",
            "test_child_spec.py::test_what_is_no_child_is_rejected_in_the_caller_and_the_supervisor_is_unharmed",
        ),
        rule(
            "One child more than max_children is refused with MaxChildren.",
            "test_dynamic_supervisor.py::test_there_are_never_more_than_max_children",
            "test_dynamic_supervisor.py::test_max_children_0_allows_none",
        ),
        rule(
            "Each start is given extra_arguments, and then what the child brings along.",
            "test_dynamic_supervisor.py::test_extra_arguments_come_before_the_childs_own_at_each_start",
        ),
        rule(
            "A child that ends and does not come back is gone.",
            "test_dynamic_supervisor.py::test_a_child_is_restarted_as_its_kind_says_and_else_disappears",
        ),
        rule(
            "So is a child that ignores when it is restarted.",
            "test_dynamic_supervisor.py::test_a_restart_that_ignores_removes_the_child",
            "test_dynamic_supervisor.py::test_a_restart_that_ignores_after_tries_that_failed_removes_the_child",
        ),
        rule(
            "A child that cannot be restarted yet is listed as restarting, and takes up room.",
            "test_dynamic_supervisor.py::test_a_child_whose_restart_fails_shows_as_restarting_and_still_counts",
        ),
        rule(
            "The restarts of all of its children are counted together.",
            "test_dynamic_supervisor.py::test_intensity_is_shared_by_all_children",
        ),
        rule(
            "It stops its children together, not in turn.",
            "test_dynamic_supervisor.py::test_all_children_are_stopped_at_the_same_time",
            "test_dynamic_supervisor.py::test_three_stuck_children_are_stopped_in_the_shutdown_time_of_one",
        ),
        rule(
            "terminate_child takes a pid, and waits until that is dead.",
            "test_dynamic_supervisor.py::test_terminate_child_returns_when_it_is_down_and_then_it_is_not_found",
        ),
        rule(
            "A second terminate_child of it raises ChildNotFound.",
            "test_dynamic_supervisor.py::test_terminate_child_returns_when_it_is_down_and_then_it_is_not_found",
        ),
    ],
)

REGISTRY = Section(
    "Registry",
    [
        rule(
            "register gives a key to one process; the next that wants it gets AlreadyRegistered with the holder.",
            "test_registry.py::test_a_key_belongs_to_one_process",
            "test_registry.py::test_of_many_that_register_a_key_at_once_one_gets_it",
        ),
        rule(
            "unregister gives up a key of one's own, leaves that of another, and may be repeated.",
            "test_registry.py::test_unregister_gives_up_own_keys_only_and_is_idempotent",
        ),
        rule(
            "lookup tells who holds a key, and with which value.",
            "test_registry.py::test_a_key_belongs_to_one_process",
        ),
        rule(
            "keys tells what one process holds, select what all do, count how much that is.",
            "test_registry.py::test_keys_select_and_count_tell_what_is_held",
        ),
        rule(
            "dispatch calls a function with the list of holder and value.",
            "test_registry.py::test_dispatch_calls_with_the_entry_and_not_at_all_without",
        ),
        rule(
            "update_value changes a value and tells the new one and the one before.",
            "test_registry.py::test_update_value_returns_the_new_and_the_old",
        ),
        rule(
            "update_value of a key that is not one's own is a LookupError.",
            "test_registry.py::test_update_value_of_anothers_key_or_of_none_is_a_lookup_error",
        ),
        rule(
            "A listener is given by its pid or by its name.",
            "test_registry.py::test_listeners_hear_of_registrations_and_not_of_deaths",
            "test_registry.py::test_a_listener_may_be_given_by_its_name_and_hears_of_one_registration_once",
        ),
        rule(
            "A listener hears of a key that is registered, of its holder and value, and of one that is given up.",
            "test_registry.py::test_listeners_hear_of_registrations_and_not_of_deaths",
            "test_registry.py::test_a_registry_without_a_name_is_told_by_its_pid_and_a_listener_that_is_not_there_harms_nobody",
        ),
        rule(
            "A listener does not hear of keys that are free because their holder died.",
            "test_registry.py::test_listeners_hear_of_registrations_and_not_of_deaths",
        ),
        rule(
            "Looking something up does not wait for the process of the registry.",
            "test_registry.py::test_reads_need_no_message",
        ),
        rule(
            "Who registers is linked to the registry, and ends with it.",
            "test_registry.py::test_a_registry_that_crashes_takes_its_registrants_with_it",
            "test_registry.py::test_the_error_of_a_registry_that_crashes_ends_its_registrants",
            "test_registry.py::test_a_registrant_that_traps_hears_of_the_registrys_end_once_and_one_that_has_unregistered_does_not",
        ),
        rule(
            "Keys that are equal in Python are one key.",
            "test_registry.py::test_keys_compare_as_pythons_do",
        ),
        rule(
            "The documentation says that.",
            "test_registry.py::test_the_documentation_says_how_keys_compare",
        ),
    ],
)

NOT_HERE = Section(
    "What Erlang has and this library has not",
    [
        rule(
            "There are no calls and casts to many at once, no nodes, no upgrades of running code and no process "
            "dictionaries.",
            "test_architecture.py::test_the_public_names_are_these",
            "test_architecture.py::test_what_is_not_ported_is_not_there",
        ),
        rule(
            "An outcome has to be returned: raising it is an error.",
            "test_calls.py::test_an_outcome_that_is_raised_is_an_error_and_no_outcome",
        ),
    ],
)

SECTIONS: Final = [
    REASONS,
    START,
    CALLS,
    REPORTS,
    TIMEOUTS,
    TERMINATE,
    SYSTEM,
    LINKS,
    KILL,
    SPECS,
    CHILDREN,
    RESTARTS,
    REQUESTS,
    SUPERVISORS_END,
    DYNAMIC,
    REGISTRY,
    NOT_HERE,
]


def page() -> str:
    """Return the rules as they are printed."""
    lines: list[str] = []
    for section in SECTIONS:
        lines += [section.title, "=" * len(section.title), ""]
        for each in section.rules:
            lines += textwrap.wrap(each.text, 100, initial_indent="* ", subsequent_indent="  ")
            lines += [f"      {test}" for test in each.tests]
        lines.append("")
    count = sum(len(section.rules) for section in SECTIONS)
    tests = {test for section in SECTIONS for each in section.rules for test in each.tests}
    return "\n".join([*lines, f"{count} rules, shown by {len(tests)} tests"])


if __name__ == "__main__":
    sys.stdout.write(f"{page()}\n")

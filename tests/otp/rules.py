"""What the actors of this library guarantee, rule by rule, with the tests that show each rule.

``python -m tests.otp.rules`` prints them; test_rules.py checks that the tests exist.
"""

import sys
import textwrap
from typing import Final, NamedTuple


class Rule(NamedTuple):
    """A rule, and the tests that show it best: file and function, below tests/otp or tests."""

    text: str
    tests: tuple[str, ...]


class Section(NamedTuple):
    """The rules of one topic."""

    title: str
    rules: list[Rule]


def rule(text: str, *tests: str) -> Rule:
    return Rule(text, tests)


REASONS = Section(
    "Reasons",
    [
        rule(
            "Every process ends with a reason: a named one, Shutdown(x), or any other value.",
            "test_terminate.py::test_terminate_runs_on_a_stop_with_its_reason",
            "test_terminate.py::test_stop_returns_when_the_server_ends_with_the_reason_that_was_given_whatever_it_is",
        ),
        rule(
            "The reason of a callback that raises is the exception object that was raised.",
            "test_links.py::test_an_exception_goes_through_links_as_that_very_exception",
            "test_calls.py::test_a_crash_is_told_to_the_caller_as_that_very_exception",
        ),
        rule(
            "That exception still has the traceback of where it was raised.",
            "test_calls.py::test_a_crash_can_still_tell_where_it_was_raised",
        ),
        rule(
            "is_clean accepts NORMAL, SHUTDOWN and Shutdown(x), and nothing else.",
            "test_supervisor.py::test_clean_reasons_are_normal_shutdown_and_shutdown_with_a_reason_and_no_others",
        ),
        rule(
            "Whether a transient child is restarted depends only on is_clean of its reason.",
            "test_supervisor.py::test_what_is_clean_decides_whether_a_transient_child_comes_back",
        ),
        rule(
            "Delays, timeouts and shutdown times are in seconds.",
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
            "start waits for init, and then returns the pid.",
            "test_start.py::test_start_returns_the_pid_when_init_has_returned_and_not_before",
        ),
        rule(
            "start does not wait for the continue of init.",
            "test_start.py::test_a_continue_of_init_runs_after_start_has_returned",
        ),
        rule(
            "The continue of init runs before any message in the mailbox.",
            "test_start.py::test_a_continue_of_init_runs_before_any_queued_message",
        ),
        rule(
            "If init returns IGNORE, so does start.",
            "test_start.py::test_an_ignored_start_returns_ignore_and_leaves_no_name",
        ),
        rule(
            "A process whose init returns IGNORE ends with NORMAL.",
            "test_start.py::test_an_ignored_start_is_a_process_that_ends_normally",
            "test_start.py::test_an_ignored_start_link_is_a_normal_exit_to_a_parent_that_traps",
        ),
        rule(
            "If init returns Stop, start raises StartError with the reason of the Stop.",
            "test_start.py::test_an_init_that_stops_is_a_start_error_with_its_reason",
        ),
        rule(
            "If init raises, start raises StartError with that exception as the reason.",
            "test_start.py::test_an_init_that_raises_gives_that_very_exception_with_its_traceback",
            "test_start.py::test_whatever_init_raises_is_told_to_the_starter_and_harms_nobody_else",
        ),
        rule(
            "If init returns another value, start raises StartError with a BadReturnValue of that value as the reason.",
            "test_start.py::test_an_init_that_returns_another_value_is_a_bad_return_value",
        ),
        rule(
            "If a class has no init, the argument of start becomes the state.",
            "test_start.py::test_a_class_without_init_has_its_argument_as_the_state",
        ),
        rule(
            "terminate is not called after an init that failed.",
            "test_start.py::test_terminate_never_runs_after_a_failed_init",
        ),
        rule(
            "A failing init ends the process that called start_link, unless it traps exits.",
            "test_start.py::test_start_link_with_a_failing_init_ends_a_parent_that_does_not_trap_with_the_inner_reason",
            "test_start.py::test_a_parent_that_does_not_trap_dies_of_a_failing_init_even_if_it_catches_the_start_error",
        ),
        rule(
            "If it traps exits, it receives an Exit from the child whose init failed.",
            "test_start.py::test_start_link_with_a_failing_init_tells_a_parent_that_traps_and_raises_there",
        ),
        rule(
            "start_link also raises the StartError, whether its caller traps exits or not.",
            "test_start.py::test_start_link_with_a_failing_init_tells_a_parent_that_traps_and_raises_there",
            "test_start.py::test_a_parent_that_does_not_trap_dies_of_a_failing_init_even_if_it_catches_the_start_error",
        ),
        rule(
            "A parent that does not catch this error ends: with the reason of the exit signal or, if it traps "
            "exits, with "
            "the StartError that has that reason.",
            "test_start.py::test_start_link_with_a_failing_init_ends_a_parent_that_does_not_trap_with_the_inner_reason",
            "test_start.py::test_a_start_error_left_uncaught_ends_a_trapping_parent_with_the_inner_reason",
        ),
        rule(
            "start, which does not link, leaves its caller unharmed when init fails.",
            "test_start.py::test_start_with_a_failing_init_harms_no_parent",
        ),
        rule(
            "If init takes longer than start's timeout, the process is killed and start raises StartError(TIMEOUT).",
            "test_start.py::test_a_start_timeout_is_a_start_error_and_kills_the_process_and_frees_the_name",
        ),
        rule(
            "What such an init sends, registers or returns afterwards has no effect.",
            "test_start.py::test_nothing_of_a_start_that_timed_out_arrives_later",
            "test_start.py::test_a_start_that_timed_out_is_told_once_whatever_its_init_returns_later",
            "test_start.py::test_a_start_link_that_times_out_leaves_its_parent_alive_and_without_an_exit",
        ),
        rule(
            "A server's name is registered before its init runs, so init can look it up.",
            "test_start.py::test_a_server_finds_itself_by_its_name_in_init",
            "test_start.py::test_a_server_finds_itself_by_its_via_in_init",
            "test_start.py::test_a_name_is_taken_from_before_init_on",
        ),
        rule(
            "When a start has failed or returned IGNORE, its name is free.",
            "test_start.py::test_a_name_is_free_again_when_a_failed_or_ignored_start_has_returned",
        ),
        rule(
            "A start with a name already in use raises AlreadyStarted with its holder, without calling init.",
            "test_start.py::test_a_taken_name_is_already_started_and_the_second_init_never_runs",
            "test_start.py::test_a_taken_via_name_is_already_started_and_the_second_init_never_runs",
        ),
        rule(
            "A start_link that fails that way sends its caller no exit signal.",
            "test_start.py::test_a_taken_name_sends_no_exit_to_the_linking_process",
        ),
        rule(
            "A name is optional: a string, or a key in a registry.",
            "test_names.py::test_a_name_may_be_taken_for_none_a_string_or_a_via",
        ),
        rule(
            "A via can carry the value to register; the default is None.",
            "test_names.py::test_a_via_name_serves_wherever_a_pid_does",
            "test_names.py::test_a_via_without_a_value_registers_none",
        ),
        rule(
            "Any other kind of name raises TypeError in the caller of start.",
            "test_start.py::test_another_kind_of_name_is_a_type_error_in_the_caller",
            "test_start.py::test_a_type_error_for_a_name_harms_no_parent",
        ),
        rule(
            "By default, a class is a permanent worker whose id is the class, with 5 s to shut down.",
            "test_start.py::test_the_default_child_spec_is_a_permanent_worker_with_the_class_as_id_and_5_seconds",
        ),
        rule(
            "Its child specification starts it by start_link with its argument.",
            "test_start.py::test_the_default_child_spec_starts_with_start_link_and_the_argument",
        ),
    ],
)

CALLS = Section(
    "Server: calls, casts and messages",
    [
        rule(
            "A call waits 5 seconds by default.",
            "test_calls.py::test_a_call_waits_5_seconds_by_default",
        ),
        rule(
            "A call that takes longer raises CallTimeout, a TimeoutError that names target, request and timeout.",
            "test_calls.py::test_a_call_timeout_names_target_request_and_timeout_and_leaves_the_server_unharmed",
        ),
        rule(
            "A server is not affected by a caller that gave up.",
            "test_calls.py::test_a_call_timeout_names_target_request_and_timeout_and_leaves_the_server_unharmed",
            "test_calls.py::test_a_call_that_is_broken_off_by_ctrl_c_leaves_the_server_unharmed_and_gets_no_late_reply",
        ),
        rule(
            "A late reply is discarded: no later call and no mailbox receives it.",
            "test_calls.py::test_a_late_reply_reaches_nobody_and_later_calls_get_their_own",
            "test_calls.py::test_a_late_return_value_reaches_nobody_and_later_calls_get_their_own",
        ),
        rule(
            "A call to a dead or unknown process raises NoProcess, a LookupError, at once.",
            "test_calls.py::test_a_call_to_the_dead_or_unknown_is_no_process_and_a_lookup_error_at_once",
        ),
        rule(
            "A server that calls itself, by pid, name or via, gets CallingSelf at once.",
            "test_calls.py::test_calling_oneself_ends_at_once_by_pid_name_and_via",
        ),
        rule(
            "If the server ends before it replies, the caller gets CallExit with the reason.",
            "test_calls.py::test_a_server_that_ends_during_the_call_is_call_exit_with_its_reason",
            "test_calls.py::test_a_call_that_waits_behind_the_end_of_its_server_is_call_exit",
            "test_stress.py::test_every_call_that_races_a_stop_or_a_kill_ends_once_with_its_reply_or_an_exit",
        ),
        rule(
            "A server whose callback does not catch such an error crashes with it.",
            "test_calls.py::test_a_call_error_left_uncaught_ends_the_calling_server_with_it",
        ),
        rule(
            "If handle_call returns Stop without a reply, the caller gets CallExit with its reason, even NORMAL.",
            "test_calls.py::test_stop_without_a_reply_is_call_exit_even_when_normal",
        ),
        rule(
            "If it returns Stop with a reply: first terminate, then the reply, then the exit.",
            "test_calls.py::test_stop_with_a_reply_runs_terminate_first_then_replies_then_exits",
            "test_calls.py::test_the_reply_of_a_stop_is_not_delivered_before_terminate_has_ended",
        ),
        rule(
            "Anything that has from_ can reply: another actor, a plain thread, a later callback.",
            "test_calls.py::test_any_thread_may_answer_a_call",
            "test_calls.py::test_another_actor_may_answer_a_call",
            "test_calls.py::test_a_call_may_be_answered_from_a_later_callback",
        ),
        rule(
            "Of several replies, the caller gets the first.",
            "test_calls.py::test_the_first_reply_wins_and_later_ones_never_surface",
            "test_calls.py::test_of_many_threads_that_reply_one_wins_and_the_others_are_unharmed",
        ),
        rule(
            "The other replies are discarded.",
            "test_calls.py::test_the_first_reply_wins_and_later_ones_never_surface",
            "test_calls.py::test_a_reply_after_a_stop_that_replied_goes_nowhere",
        ),
        rule(
            "A reply is delivered before the continue of the same outcome runs.",
            "test_timeouts.py::test_the_reply_is_delivered_before_the_continue_runs",
        ),
        rule(
            "A continue can return another one, and all of them run before queued messages.",
            "test_timeouts.py::test_a_continue_runs_before_queued_messages_and_continues_chain",
            "test_timeouts.py::test_ten_thousand_continues_chain_before_a_message_that_waits",
        ),
        rule(
            "A continue can stop the server.",
            "test_timeouts.py::test_a_continue_may_stop",
        ),
        rule(
            "A cast or send to a dead or unknown process does nothing.",
            "test_calls.py::test_casts_and_sends_to_the_dead_and_unknown_are_silently_nothing",
        ),
        rule(
            "A server without the callback for a call, a cast or a continue crashes with an error that names the "
            "callback.",
            "test_calls.py::test_a_callback_that_is_not_there_ends_the_server_saying_so",
        ),
        rule(
            "A message to a server without handle_info is logged once, and the server keeps running.",
            "test_calls.py::test_a_message_that_is_not_handled_is_one_warning_and_the_server_lives",
        ),
        rule(
            "A NotImplementedError or AttributeError raised in a callback is not mistaken for a missing callback.",
            "test_calls.py::test_an_error_of_user_code_in_a_handler_is_that_error",
            "test_calls.py::test_an_attribute_that_a_handler_does_not_find_is_an_attribute_error",
        ),
        rule(
            "If a callback returns an invalid value, the server ends with a BadReturnValue of it.",
            "test_calls.py::test_a_bad_return_value_is_the_reason_and_terminate_runs",
            "test_calls.py::test_a_bad_return_value_of_handle_call_is_the_reason_and_told_to_the_caller",
        ),
        rule(
            "terminate runs in that case too.",
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
            "The report has the server, the message it was handling, its state, the reason with a traceback, and the "
            "caller.",
            "test_calls.py::test_a_crash_is_reported_exactly_once_with_all_that_matters",
        ),
        rule(
            "A clean end is not reported.",
            "test_calls.py::test_a_clean_end_is_not_reported",
        ),
        rule(
            "format_status can hide secrets in the state, both in reports and in get_status.",
            "test_calls.py::test_format_status_hides_secrets_from_report_and_status",
            "test_system.py::test_format_status_changes_what_get_status_tells_and_not_the_state",
        ),
        rule(
            "If format_status raises, report and status are as if it were not defined.",
            "test_system.py::test_a_format_status_that_raises_loses_nothing_and_is_logged",
            "test_system.py::test_a_format_status_that_raises_costs_no_crash_report",
        ),
        rule(
            "All loggers are below 'gennostr', and their records reach the root logger.",
            "test_calls.py::test_the_loggers_are_gennostrs_and_propagate",
        ),
        rule(
            "A crash is logged as an error.",
            "test_calls.py::test_a_crash_is_reported_exactly_once_with_all_that_matters",
            "test_calls.py::test_the_loggers_are_gennostrs_and_propagate",
        ),
        rule(
            "A message that is not handled is logged as a warning.",
            "test_calls.py::test_a_message_that_is_not_handled_is_one_warning_and_the_server_lives",
            "test_calls.py::test_the_loggers_are_gennostrs_and_propagate",
        ),
    ],
)

TIMEOUTS = Section(
    "Timeouts and timers",
    [
        rule(
            "After an outcome with a timeout, handle_info is called with TIMEOUT if no message arrives in that time.",
            "test_timeouts.py::test_a_timeout_may_be_asked_for_by_every_callback_and_comes_as_a_message",
            "test_timeouts.py::test_a_timeout_does_not_come_before_its_time",
        ),
        rule(
            "That happens once, not repeatedly.",
            "test_timeouts.py::test_a_timeout_comes_once",
        ),
        rule(
            "Any message that arrives first cancels the timeout.",
            "test_timeouts.py::test_any_message_cancels_the_timeout",
        ),
        rule(
            "A system message such as get_state restarts the timeout, and does nothing else to it.",
            "test_timeouts.py::test_get_state_and_the_like_restart_a_timeout_and_do_not_cancel_it",
        ),
        rule(
            "With a timeout of 0, a message that is already waiting is handled instead.",
            "test_timeouts.py::test_a_message_that_is_queued_goes_before_a_timeout_of_0_and_cancels_it",
            "test_timeouts.py::test_a_timeout_of_0_of_init_lets_a_message_that_is_queued_go_first",
        ),
        rule(
            "With a timeout of 0 and an empty mailbox, TIMEOUT is handled at once.",
            "test_timeouts.py::test_a_timeout_of_0_with_an_empty_mailbox_fires_at_once",
        ),
        rule(
            "send_after returns a timer that delivers the message when it is due.",
            "test_timeouts.py::test_send_after_delivers_a_message_when_it_is_due_and_not_before",
        ),
        rule(
            "cancel_timer returns the seconds that were left.",
            "test_timeouts.py::test_cancel_timer_returns_the_seconds_left_and_then_none",
        ),
        rule(
            "cancel_timer returns None if the timer has fired or was cancelled.",
            "test_timeouts.py::test_cancelling_a_timer_that_has_fired_is_none",
        ),
        rule(
            "The message of a timer to a dead or unknown process is dropped.",
            "test_timeouts.py::test_timers_to_the_dead_and_the_unknown_vanish",
            "test_timeouts.py::test_a_timer_to_who_dies_meanwhile_vanishes_and_its_name_may_serve_another",
        ),
        rule(
            "One thread serves all timers of a program.",
            "test_timeouts.py::test_all_timers_share_one_thread_that_ends_with_the_last_of_them",
        ),
        rule(
            "The clock can be replaced.",
            "test_timeouts.py::test_the_clock_is_installed_and_given_back",
            "test_timeouts.py::test_send_after_delivers_a_message_when_it_is_due_and_not_before",
        ),
        rule(
            "Every outcome that takes a timeout also takes hibernate, which changes no result.",
            "test_timeouts.py::test_hibernate_is_accepted_from_every_callback_and_changes_no_result",
        ),
        rule(
            "A server that hibernates collects garbage before it waits.",
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
            "A server that traps exits runs terminate when its parent ends; that Exit is not passed to handle_info.",
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
            "terminate does not run after an init that failed.",
            "test_start.py::test_terminate_never_runs_after_a_failed_init",
        ),
        rule(
            "trap_exit can be set on the class.",
            "test_terminate.py::test_trap_exit_may_be_true_on_the_class",
        ),
        rule(
            "trap_exit can be set on self in any callback.",
            "test_terminate.py::test_trap_exit_may_be_set_in_a_callback",
        ),
        rule(
            "An exception from terminate replaces the exit reason.",
            "test_terminate.py::test_a_crash_in_terminate_after_a_crash_replaces_that_one",
            "test_terminate.py::test_a_crash_in_terminate_at_the_parents_exit_replaces_that_reason",
        ),
        rule(
            "The caller of stop gets it, too.",
            "test_terminate.py::test_a_crash_in_terminate_replaces_the_reason_and_the_stopper_gets_it",
        ),
        rule(
            "A stop is handled after the messages that are already queued.",
            "test_terminate.py::test_stop_is_handled_in_mailbox_order",
            "test_terminate.py::test_a_call_that_was_queued_before_a_stop_is_answered",
        ),
        rule(
            "A stop that takes longer than its timeout raises CallTimeout.",
            "test_terminate.py::test_a_stop_that_times_out_raises_and_the_server_still_stops_later",
        ),
        rule(
            "The server still stops later.",
            "test_terminate.py::test_a_stop_that_times_out_raises_and_the_server_still_stops_later",
            "test_terminate.py::test_a_stop_that_is_broken_off_by_ctrl_c_still_stops_the_server",
        ),
        rule(
            "Stopping a dead or unknown process raises NoProcess.",
            "test_terminate.py::test_stopping_the_dead_and_the_unknown_is_no_process_at_once",
        ),
        rule(
            "A server that calls stop on itself in a callback gets CallingSelf.",
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
            "get_state is answered in its turn, with the state at that moment.",
            "test_system.py::test_get_state_is_answered_in_mailbox_order",
            "test_system.py::test_a_state_may_be_any_value",
        ),
        rule(
            "replace_state sets the state to the result of a function of the state.",
            "test_system.py::test_replace_state_sets_the_state_to_what_the_function_returns_and_returns_that",
        ),
        rule(
            "If that function raises, the exception is raised in the caller, and the server is unchanged.",
            "test_system.py::test_a_function_that_raises_leaves_the_state_and_the_server",
        ),
        rule(
            "While a server is suspended, messages wait.",
            "test_system.py::test_messages_of_every_kind_wait_while_suspended_and_keep_their_order",
            "test_system.py::test_downs_trapped_exits_timers_and_proxies_wait_while_suspended",
        ),
        rule(
            "After resume, they are handled in order.",
            "test_system.py::test_messages_of_every_kind_wait_while_suspended_and_keep_their_order",
        ),
        rule(
            "get_status returns the name, whether the server runs, its state, the number of waiting messages, "
            "and its children.",
            "test_system.py::test_get_status_tells_name_status_state_messages_and_children",
        ),
        rule(
            "statistics returns when the server started, and how many messages were handled and are waiting.",
            "test_system.py::test_statistics_count_messages_of_every_kind_and_no_system_messages",
            "test_system.py::test_statistics_tell_since_when_a_server_runs_and_how_many_messages_wait",
        ),
    ],
)

LINKS = Section(
    "Links and monitors",
    [
        rule(
            "The normal end of a linked process has no effect on a process that does not trap exits.",
            "test_links.py::test_a_linked_normal_exit_is_ignored_by_who_does_not_trap",
        ),
        rule(
            "Any other end, with SHUTDOWN too, ends the linked processes that do not trap exits, with the same reason.",
            "test_links.py::test_a_linked_exit_ends_who_does_not_trap_with_the_same_reason",
        ),
        rule(
            "A process that traps exits receives a message instead: Exit, with pid and reason.",
            "test_links.py::test_who_traps_gets_one_exit_and_lives",
        ),
        rule(
            "Linking the same processes several times makes one link: there is a single Exit.",
            "test_links.py::test_who_traps_gets_one_exit_however_often_linked",
        ),
        rule(
            "An exit signal NORMAL from another process has no effect on a process that does not trap exits.",
            "test_links.py::test_exit_normal_from_another_is_ignored_by_who_does_not_trap",
        ),
        rule(
            "An exit signal NORMAL from another process is an Exit message to a process that traps exits.",
            "test_links.py::test_exit_normal_from_another_is_an_exit_to_who_traps",
        ),
        rule(
            "KILL ends a process that traps exits as well.",
            "test_links.py::test_a_kill_cannot_be_trapped_and_is_seen_and_spread_as_killed",
        ),
        rule(
            "Links, monitors and callers of a killed process get KILLED as the reason.",
            "test_links.py::test_a_kill_cannot_be_trapped_and_is_seen_and_spread_as_killed",
        ),
        rule(
            "A monitor of a dead pid delivers a Down of that pid with NOPROC.",
            "test_links.py::test_a_monitor_of_the_dead_is_noproc",
        ),
        rule(
            "A monitor of a name that is not registered delivers a Down of that name with NOPROC.",
            "test_links.py::test_a_monitor_of_an_unknown_name_is_noproc_with_the_name_that_was_given",
        ),
        rule(
            "Each monitor has a reference and a Down of its own.",
            "test_links.py::test_monitors_stack",
            "test_links.py::test_one_of_several_monitors_can_be_taken_back",
        ),
        rule(
            "One unlink removes a link, however often it was made.",
            "test_links.py::test_a_link_twice_is_gone_by_one_unlink_from_either_side",
        ),
        rule(
            "demonitor removes a Down that is already in the mailbox only with flush.",
            "test_links.py::test_demonitor_leaves_a_queued_down_unless_it_flushes",
        ),
        rule(
            "Linking to a dead or unknown process delivers an Exit with NOPROC if the caller traps exits.",
            "test_links.py::test_linking_to_the_dead_is_an_exit_noproc_to_who_traps",
            "test_links.py::test_linking_to_the_unknown_is_an_exit_noproc_to_who_traps",
        ),
        rule(
            "Otherwise, it raises NoProcess.",
            "test_links.py::test_linking_to_the_dead_and_unknown_is_an_error_to_who_does_not_trap",
        ),
        rule(
            "What a process sent to another is in its mailbox before the Exit and the Down of the sender's end.",
            "test_links.py::test_the_messages_of_one_come_before_its_exit_and_its_down",
            "test_links.py::test_a_killed_sender_that_sends_without_pause_is_cut_off_at_its_exit",
            "test_stress.py::test_messages_of_a_killed_sender_never_come_after_its_down",
        ),
        rule(
            "A process that has received a Down finds the names and keys of the dead process free.",
            "test_links.py::test_when_an_exit_or_a_down_has_been_seen_the_dead_has_neither_name_nor_key_and_is_not_alive",
            "test_names.py::test_when_a_down_is_seen_the_name_and_the_keys_are_free",
        ),
    ],
)

KILL = Section(
    "Kill",
    [
        rule(
            "The thread of a killed actor keeps running, but nothing that it does has an effect.",
            "test_kill.py::test_the_thread_ends_when_its_callback_does",
            "test_kill.py::test_a_killed_busy_actor_is_not_alive_and_its_names_and_keys_are_free_at_once",
        ),
        rule(
            "A kill takes less than 200 ms until the actor is dead for every other process.",
            "test_kill.py::test_it_takes_less_than_200_ms_until_everybody_knows",
        ),
        rule(
            "is_alive of its pid returns False at once.",
            "test_kill.py::test_a_killed_busy_actor_is_not_alive_and_its_names_and_keys_are_free_at_once",
        ),
        rule(
            "Its name and its keys are free at once.",
            "test_kill.py::test_a_killed_busy_actor_is_not_alive_and_its_names_and_keys_are_free_at_once",
            "test_kill.py::test_a_replacement_may_run_while_the_old_thread_is_still_busy",
        ),
        rule(
            "The messages in its mailbox are dropped.",
            "test_kill.py::test_the_mailbox_of_the_killed_is_dropped",
        ),
        rule(
            "Its links and monitors are notified with the reason KILLED.",
            "test_kill.py::test_links_monitors_and_callers_are_told_killed_wherever_the_actor_was",
        ),
        rule(
            "Its callers get CallExit with the reason KILLED.",
            "test_kill.py::test_whoever_waits_for_a_killed_actor_gets_call_exit_killed",
            "test_kill.py::test_a_call_that_was_being_handled_gets_call_exit_killed",
        ),
        rule(
            "Its replacement can run while the old thread is still busy.",
            "test_kill.py::test_a_replacement_may_run_while_the_old_thread_is_still_busy",
            "test_kill.py::test_a_supervisor_replaces_a_killed_child_while_its_thread_is_still_busy",
        ),
        rule(
            "No function of this library has an effect in the abandoned thread: no reply, message, key, link or state.",
            "test_kill.py::test_nothing_that_an_abandoned_thread_does_has_an_effect",
        ),
        rule(
            "What its callback returns or raises has no effect.",
            "test_kill.py::test_nothing_that_the_callback_of_a_killed_actor_comes_to_has_an_effect",
            "test_kill.py::test_nothing_that_the_init_of_a_killed_actor_comes_to_has_an_effect",
        ),
        rule(
            "on_cancel is called in the killer's thread, and can unblock the callback.",
            "test_kill.py::test_on_cancel_runs_in_the_killers_thread_when_all_else_is_done_and_can_unblock_the_callback",
            "test_kill.py::test_on_cancel_of_a_child_runs_in_the_thread_of_the_supervisor_that_kills_it",
        ),
        rule(
            "A killed connection releases its socket in this way.",
            "client/test_tree.py::test_a_killed_connection_is_one_error_and_one_disconnect_and_harms_no_other_relay",
        ),
        rule(
            "The thread ends when its callback has returned.",
            "test_kill.py::test_the_thread_ends_when_its_callback_does",
        ),
        rule(
            "abandoned() returns the number of such threads.",
            "test_kill.py::test_the_threads_that_are_left_are_counted_until_they_end",
        ),
        rule(
            "A thread that keeps running for a while is logged.",
            "test_kill.py::test_a_thread_that_is_still_busy_after_a_while_is_logged_exactly_once_and_names_the_actor",
            "test_kill.py::test_each_thread_that_is_still_busy_is_logged",
        ),
        rule(
            "An exit signal ends a busy actor that does not trap exits at its next message, after the running "
            "callback.",
            "test_links.py::test_an_exit_signal_to_a_busy_actor_that_does_not_trap_takes_effect_at_its_next_message",
            "test_links.py::test_a_linked_exit_to_a_busy_actor_that_does_not_trap_takes_effect_at_its_next_message",
        ),
    ],
)

SPECS = Section(
    "Supervisor: specifications and options",
    [
        rule(
            "A child has an id, which is any hashable value, and a start, which is callable.",
            "test_child_spec.py::test_an_id_is_anything_that_can_be_a_key",
            "test_child_spec.py::test_a_bad_field_is_rejected_naming_field_and_value",
        ),
        rule(
            "restart is permanent (the default), transient or temporary.",
            "test_child_spec.py::test_the_fields_that_may_be_left_out_have_defaults",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
        ),
        rule(
            "shutdown is a number of seconds, infinity, or brutal_kill.",
            "test_child_spec.py::test_shutdown_is_seconds_or_infinity_or_brutal_kill",
            "test_supervisor.py::test_a_brutal_kill_gives_no_time",
            "test_supervisor.py::test_a_shutdown_time_without_end_waits_until_the_child_is_down",
        ),
        rule(
            "shutdown defaults to 5 s for a worker and to infinity for a supervisor.",
            "test_child_spec.py::test_shutdown_is_5_seconds_by_default_and_for_supervisors_infinity",
        ),
        rule(
            "type is worker or supervisor.",
            "test_supervisor.py::test_which_children_is_newest_first_and_tells_id_pid_type_and_start",
            "test_child_spec.py::test_the_child_spec_of_a_supervisor_says_that_it_is_one",
        ),
        rule(
            "significant is False by default; True needs a supervisor with auto_shutdown.",
            "test_child_spec.py::test_the_fields_that_may_be_left_out_have_defaults",
            "test_child_spec.py::test_a_significant_child_needs_an_auto_shutdown",
        ),
        rule(
            "The strategy is one_for_one (the default), one_for_all or rest_for_one.",
            "test_supervisor.py::test_a_strategy_stops_its_victims_in_reverse_and_starts_them_in_order",
            "test_child_spec.py::test_the_flags_have_defaults",
        ),
        rule(
            "By default, 3 restarts in 5 seconds are allowed.",
            "test_supervisor.py::test_the_default_intensity_is_3_restarts_in_5_seconds",
        ),
        rule(
            "auto_shutdown is never (the default), any_significant or all_significant.",
            "test_supervisor.py::test_never_is_the_default_and_a_supervisor_outlives_all_of_its_children",
            "test_supervisor.py::test_any_significant_ends_the_supervisor_with_the_first_final_end",
            "test_supervisor.py::test_all_significant_ends_the_supervisor_with_the_last_final_end",
        ),
        rule(
            "An invalid value of a field or flag raises an error that names the field and the value.",
            "test_child_spec.py::test_a_bad_field_is_rejected_naming_field_and_value",
            "test_child_spec.py::test_a_bad_flag_is_rejected_naming_field_and_value",
            "test_child_spec.py::test_a_bad_flag_of_a_dynamic_supervisor_is_rejected_naming_field_and_value",
        ),
        rule(
            "An invalid request does not affect the supervisor.",
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
            "Each child is started after the one listed before it has started.",
            "test_supervisor.py::test_a_child_starts_when_the_one_before_it_has_started",
            "test_supervisor.py::test_children_start_in_order_and_stop_in_exact_reverse_with_shutdown",
        ),
        rule(
            "Each child is stopped after the one listed after it has ended.",
            "test_supervisor.py::test_a_child_stops_when_the_one_after_it_is_down",
            "test_supervisor.py::test_a_tree_stops_in_exact_reverse_of_its_start",
        ),
        rule(
            "They are stopped with SHUTDOWN.",
            "test_supervisor.py::test_children_start_in_order_and_stop_in_exact_reverse_with_shutdown",
            "test_supervisor.py::test_a_child_that_does_not_trap_exits_stops_without_terminate",
        ),
        rule(
            "A child that has not stopped within its own shutdown time is killed.",
            "test_supervisor.py::test_a_child_that_does_not_stop_in_its_shutdown_time_is_killed",
            "test_supervisor.py::test_each_child_has_a_shutdown_time_of_its_own",
        ),
        rule(
            "which_children lists the children, newest first.",
            "test_supervisor.py::test_which_children_is_newest_first_and_tells_id_pid_type_and_start",
        ),
        rule(
            "count_children returns the numbers of specifications, of running children, of supervisors and of workers.",
            "test_supervisor.py::test_count_children_counts_specs_active_supervisors_and_workers",
        ),
        rule(
            "If a child does not start, those already started are stopped in reverse order, and the rest are not "
            "started.",
            "test_supervisor.py::test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start",
            "test_supervisor.py::test_wherever_the_child_stands_that_fails_at_init",
        ),
        rule(
            "Its StartError has the reason Shutdown(FailedToStartChild), which names the child's id and failure.",
            "test_supervisor.py::test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start",
        ),
        rule(
            "Such a start leaves no thread behind.",
            "test_supervisor.py::test_a_child_that_fails_at_init_stops_those_before_it_in_reverse_and_the_rest_never_start",
        ),
        rule(
            "A child whose init returns IGNORE is listed without a pid; a temporary one is removed.",
            "test_supervisor.py::test_a_child_that_ignores_is_kept_without_a_pid_unless_temporary",
        ),
        rule(
            "start_child and restart_child return IGNORE for such a child.",
            "test_supervisor.py::test_start_child_and_restart_child_return_ignore_and_keep_the_child_without_a_pid",
            "test_supervisor.py::test_start_child_of_a_temporary_child_that_ignores_returns_ignore_and_does_not_keep_it",
        ),
    ],
)

RESTARTS = Section(
    "Supervisor: restarts",
    [
        rule(
            "A permanent child is restarted however it ended.",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
        ),
        rule(
            "A transient child is restarted after a failure; after a clean end, it is listed without a pid.",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
            "test_supervisor.py::test_a_shutdown_signal_to_a_transient_child_is_a_clean_end",
        ),
        rule(
            "A temporary child is not restarted, and is removed.",
            "test_supervisor.py::test_a_permanent_child_is_always_restarted_a_transient_one_after_an_unclean_end_and_a_temporary_one_never",
        ),
        rule(
            "The siblings that one_for_all and rest_for_one restart too are stopped in reverse order and started "
            "in order.",
            "test_supervisor.py::test_a_strategy_stops_its_victims_in_reverse_and_starts_them_in_order",
        ),
        rule(
            "If a child is not restarted, neither are its siblings.",
            "test_supervisor.py::test_a_temporary_childs_crash_and_a_transients_clean_end_touch_no_sibling",
        ),
        rule(
            "A temporary sibling that is stopped for a restart is not started again, and is removed.",
            "test_supervisor.py::test_temporary_victims_are_stopped_and_dropped",
        ),
        rule(
            "one_for_all also starts siblings that were not running when the child failed.",
            "test_supervisor.py::test_siblings_that_had_ended_are_revived_with_the_victims",
        ),
        rule(
            "After more than max_restarts within max_seconds, a supervisor stops its children and ends with SHUTDOWN.",
            "test_supervisor.py::test_more_than_max_restarts_stop_the_children_in_reverse_and_the_supervisor_with_shutdown",
            "test_supervisor.py::test_a_restart_counts_for_max_seconds_and_not_longer",
        ),
        rule(
            "A failed restart is retried at once.",
            "test_supervisor.py::test_failed_tries_count_for_max_seconds_too",
            "test_supervisor.py::test_whatever_a_restart_raises_it_is_tried_again",
        ),
        rule(
            "Each attempt counts as a restart: there are at most max_restarts.",
            "test_supervisor.py::test_a_restart_that_fails_is_tried_again_and_each_try_counts",
            "test_supervisor.py::test_restarts_and_failed_tries_count_together",
        ),
        rule(
            "If a restart fails, one_for_all stops the children already restarted and starts over.",
            "test_supervisor.py::test_one_for_all_first_stops_those_already_restarted_and_starts_over_when_a_restart_fails",
        ),
        rule(
            "If a restart fails, rest_for_one keeps the children already restarted and retries from the one that "
            "failed.",
            "test_supervisor.py::test_rest_for_one_keeps_those_already_restarted_and_retries_from_the_failing_child",
        ),
        rule(
            "Between two attempts, the supervisor handles its other requests.",
            "test_supervisor.py::test_while_it_is_trying_the_supervisor_answers_its_other_requests",
        ),
    ],
)

REQUESTS = Section(
    "Supervisor: requests",
    [
        rule(
            "start_child adds a child after the others and returns its pid.",
            "test_supervisor.py::test_start_child_starts_after_the_others_and_returns_the_pid",
        ),
        rule(
            "start_child with the id of a running child raises AlreadyStarted with its pid; with that of a child "
            "that is "
            "not running, AlreadyPresent.",
            "test_supervisor.py::test_start_child_refuses_an_id_that_is_taken",
        ),
        rule(
            "If the child does not start, start_child raises its failure and does not keep the child.",
            "test_supervisor.py::test_start_child_raises_the_childs_failure_and_does_not_keep_it",
        ),
        rule(
            "restart_child refuses a running child.",
            "test_supervisor.py::test_restart_child_starts_what_was_terminated_or_had_ended_in_its_old_place",
        ),
        rule(
            "restart_child and delete_child refuse a child that is being restarted.",
            "test_supervisor.py::test_a_child_under_restart_is_neither_restarted_nor_deleted_nor_started_by_request",
        ),
        rule(
            "restart_child and delete_child raise ChildNotFound for an unknown id.",
            "test_supervisor.py::test_an_unknown_id_is_child_not_found_and_that_is_a_lookup_error",
        ),
        rule(
            "terminate_child of a child that does not run changes nothing.",
            "test_supervisor.py::test_terminate_child_is_idempotent_and_keeps_the_spec",
        ),
        rule(
            "delete_child refuses a running child.",
            "test_supervisor.py::test_delete_child_needs_a_child_that_does_not_run",
        ),
    ],
)

SUPERVISORS_END = Section(
    "Supervisor: its own end",
    [
        rule(
            "When its parent ends, a supervisor stops its children in reverse order and ends with the parent's reason.",
            "test_supervisor.py::test_the_parents_exit_stops_it_in_order_with_the_same_reason",
            "test_supervisor.py::test_the_parents_death_by_a_signal_or_a_kill_stops_it_in_order_too",
        ),
        rule(
            "An Exit from a process that is not its child is logged and ignored.",
            "test_supervisor.py::test_a_strangers_exit_is_logged_and_ignored",
        ),
        rule(
            "An unknown message is logged and ignored.",
            "test_supervisor.py::test_a_strangers_messages_are_logged_and_ignored",
        ),
        rule(
            "When a supervisor is killed, children that trap exits run terminate with KILLED; the others end "
            "without it.",
            "test_supervisor.py::test_killed_its_trapping_children_run_terminate_and_the_others_die",
        ),
        rule(
            "A significant child counts when it ends by itself and is not restarted: a transient one, by a clean end.",
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
            "It does not keep the ids of its children.",
            "test_dynamic_supervisor.py::test_ids_are_not_kept_and_may_be_the_same",
        ),
        rule(
            "start_child returns the pid.",
            "test_dynamic_supervisor.py::test_start_child_returns_the_pid_of_a_child_without_an_id",
        ),
        rule(
            "start_child of a child whose init returns IGNORE returns IGNORE and keeps nothing.",
            "test_dynamic_supervisor.py::test_a_child_that_ignores_is_not_kept",
        ),
        rule(
            "If the child does not start, start_child raises its failure.",
            "test_dynamic_supervisor.py::test_start_child_raises_the_childs_failure_and_does_not_keep_it",
        ),
        rule(
            "start_child with an invalid specification raises in the caller.",
            "test_child_spec.py::test_what_is_no_child_is_rejected_in_the_caller_and_the_supervisor_is_unharmed",
        ),
        rule(
            "More than max_children children are refused with MaxChildren.",
            "test_dynamic_supervisor.py::test_there_are_never_more_than_max_children",
            "test_dynamic_supervisor.py::test_max_children_0_allows_none",
        ),
        rule(
            "Each start is called with extra_arguments, and then with the child's own arguments.",
            "test_dynamic_supervisor.py::test_extra_arguments_come_before_the_childs_own_at_each_start",
        ),
        rule(
            "A child that ends and is not restarted is removed.",
            "test_dynamic_supervisor.py::test_a_child_is_restarted_as_its_kind_says_and_else_disappears",
        ),
        rule(
            "So is a child whose init returns IGNORE when it is restarted.",
            "test_dynamic_supervisor.py::test_a_restart_that_ignores_removes_the_child",
            "test_dynamic_supervisor.py::test_a_restart_that_ignores_after_tries_that_failed_removes_the_child",
        ),
        rule(
            "A child whose restart has failed is listed as restarting, and counts as a child.",
            "test_dynamic_supervisor.py::test_a_child_whose_restart_fails_shows_as_restarting_and_still_counts",
        ),
        rule(
            "The restarts of all of its children are counted together.",
            "test_dynamic_supervisor.py::test_intensity_is_shared_by_all_children",
        ),
        rule(
            "It stops its children concurrently.",
            "test_dynamic_supervisor.py::test_all_children_are_stopped_at_the_same_time",
            "test_dynamic_supervisor.py::test_three_stuck_children_are_stopped_in_the_shutdown_time_of_one",
        ),
        rule(
            "terminate_child takes a pid, and waits until the child is dead.",
            "test_dynamic_supervisor.py::test_terminate_child_returns_when_it_is_down_and_then_it_is_not_found",
        ),
        rule(
            "A second terminate_child of the same pid raises ChildNotFound.",
            "test_dynamic_supervisor.py::test_terminate_child_returns_when_it_is_down_and_then_it_is_not_found",
        ),
    ],
)

NAMES = Section(
    "Waiting for a name",
    [
        rule(
            "wait_for returns a process that is registered at once, and otherwise as soon as there is one.",
            "test_wait_for.py::test_a_name_that_is_registered_is_returned_at_once",
            "test_wait_for.py::test_a_name_that_is_registered_later_ends_the_wait",
            "test_wait_for.py::test_a_name_is_waited_for_while_its_server_is_restarted",
        ),
        rule(
            "After its timeout, wait_for raises NoProcess, which names the target and the seconds.",
            "test_wait_for.py::test_a_name_that_is_not_registered_in_time_is_no_process_and_names_the_seconds",
        ),
        rule(
            "A registration at any moment of the wait ends it.",
            "test_wait_for.py::test_a_name_that_is_registered_at_any_line_of_a_wait_ends_it",
            "test_wait_for.py::test_of_starts_and_waits_at_once_no_wait_misses_a_start",
        ),
        rule(
            "A kill or an exit signal that is not trapped ends the wait.",
            "test_wait_for.py::test_a_kill_ends_the_wait",
            "test_wait_for.py::test_an_exit_signal_ends_the_wait_and_the_process",
        ),
    ],
)

REGISTRY = Section(
    "Registry",
    [
        rule(
            "A key is held by one process; registering it again raises AlreadyRegistered with its holder.",
            "test_registry.py::test_a_key_belongs_to_one_process",
            "test_registry.py::test_of_many_that_register_a_key_at_once_one_gets_it",
        ),
        rule(
            "unregister releases a key of the calling process, leaves those of others, and can be repeated.",
            "test_registry.py::test_unregister_gives_up_own_keys_only_and_is_idempotent",
        ),
        rule(
            "lookup returns the holder of a key and the value.",
            "test_registry.py::test_a_key_belongs_to_one_process",
        ),
        rule(
            "keys returns the keys of one process, select all entries, and count their number.",
            "test_registry.py::test_keys_select_and_count_tell_what_is_held",
        ),
        rule(
            "dispatch calls a function with a list of the holder and the value.",
            "test_registry.py::test_dispatch_calls_with_the_entry_and_not_at_all_without",
        ),
        rule(
            "update_value changes a value and returns the new and the old one.",
            "test_registry.py::test_update_value_returns_the_new_and_the_old",
        ),
        rule(
            "update_value of a key that the calling process does not hold raises LookupError.",
            "test_registry.py::test_update_value_of_anothers_key_or_of_none_is_a_lookup_error",
        ),
        rule(
            "A listener is a pid or a name.",
            "test_registry.py::test_listeners_hear_of_registrations_and_not_of_deaths",
            "test_registry.py::test_a_listener_may_be_given_by_its_name_and_hears_of_one_registration_once",
        ),
        rule(
            "Listeners receive the key, holder and value of each registration, and each key that is unregistered.",
            "test_registry.py::test_listeners_hear_of_registrations_and_not_of_deaths",
            "test_registry.py::test_a_registry_without_a_name_is_told_by_its_pid_and_a_listener_that_is_not_there_harms_nobody",
        ),
        rule(
            "Listeners receive nothing about keys released by a death.",
            "test_registry.py::test_listeners_hear_of_registrations_and_not_of_deaths",
        ),
        rule(
            "A lookup does not wait for the registry's process.",
            "test_registry.py::test_reads_need_no_message",
        ),
        rule(
            "A process that registers is linked to the registry, and ends with it.",
            "test_registry.py::test_a_registry_that_crashes_takes_its_registrants_with_it",
            "test_registry.py::test_the_error_of_a_registry_that_crashes_ends_its_registrants",
            "test_registry.py::test_a_registrant_that_traps_hears_of_the_registrys_end_once_and_one_that_has_unregistered_does_not",
        ),
        rule(
            "Keys are compared like dict keys.",
            "test_registry.py::test_keys_compare_as_pythons_do",
        ),
        rule(
            "The documentation says how keys are compared.",
            "test_registry.py::test_the_documentation_says_how_keys_compare",
        ),
    ],
)

NOT_HERE = Section(
    "Not ported from Erlang",
    [
        rule(
            "There are no multi-calls, no nodes, no code upgrades and no process dictionaries.",
            "test_architecture.py::test_the_public_names_are_these",
            "test_architecture.py::test_what_is_not_ported_is_not_there",
        ),
        rule(
            "Outcomes are returned: raising one is an error.",
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
    NAMES,
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

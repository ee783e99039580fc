"""What users of other engines complain about, row by row: the tests that hold orchkit to it, or why a row waits.

The rows are those of our survey of public threads. Each names its threads, and in our own words what the trouble was;
``proofs`` are pytest's ids, a parametrised test by its name alone; ``waits`` says what of a row nothing proves yet.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HERE = "tests/unit/peers/test_complaints"


@dataclass(frozen=True, slots=True)
class Row:
    threads: str
    trouble: str
    proofs: tuple[str, ...] = ()
    waits: str = ""


def people(*names: str) -> tuple[str, ...]:
    return tuple(f"{HERE}_people.py::test_{name}" for name in names)


def branches(*names: str) -> tuple[str, ...]:
    return tuple(f"{HERE}_branches.py::test_{name}" for name in names)


def kept(*names: str) -> tuple[str, ...]:
    return tuple(f"{HERE}_store.py::test_{name}" for name in names)


def notebook(*names: str) -> tuple[str, ...]:
    return tuple(f"{HERE}_notebook.py::test_{name}" for name in names)


def policies(*names: str) -> tuple[str, ...]:
    return tuple(f"{HERE}_policies.py::test_{name}" for name in names)


def other(path: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{path}.py::test_{name}" for name in names)


TABLE: dict[int, Row] = {
    1: Row(
        "langgraph#5952",
        "answered questions of parallel nodes come up again",
        people(
            "an_answered_question_is_not_asked_again_while_its_siblings_wait",
            "an_agent_that_is_tried_again_does_not_ask_again",
        ),
    ),
    2: Row(
        "langgraph#4028",
        "several open questions cannot all be answered",
        people(
            "several_open_questions_can_be_answered_in_any_order_after_a_restart",
            "questions_keep_their_order_when_a_run_is_resumed",
        )
        + other("unit/hall/test_inbox", "several_are_answered_at_once"),
    ),
    3: Row(
        "langgraph#3875",
        "one agent that waits for a person holds up the others",
        people("a_run_is_not_said_to_wait_while_somebody_still_works")
        + other("unit/model/test_model_activation", "a_node_that_waits_for_a_person_stops_nobody_else")
        + other("unit/engine/test_engine_nested", "a_question_inside_is_awaited_while_the_rest_goes_on"),
    ),
    4: Row(
        "langgraph#6208, langgraph#7780",
        "with each resume a node begins again, its effects too",
        people(
            "what_comes_before_a_question_does_not_run_again_on_each_resume",
            "what_a_body_called_before_it_asked_does_not_run_again_on_each_resume",
        )
        + other("unit/model/test_model_doubts", "an_effect_that_asks_in_its_body_is_told_that_it_is_done_again"),
    ),
    5: Row(
        "langgraph#8579",
        "one answer is taken for several questions, and two tools share an id",
        people("one_answer_is_never_taken_for_several_questions", "two_tools_that_ask_the_same_have_two_ids"),
    ),
    6: Row(
        "langgraph#6320, langgraph#4673, langgraph#3617",
        "a slow branch delays one that has nothing to do with it",
        branches("a_slow_sibling_delays_no_branch_that_does_not_need_it")
        + other("unit/model/test_model_activation", "there_is_no_barrier")
        + other("unit/engine/test_engine_nested", "items_do_not_wait_for_each_other"),
    ),
    7: Row(
        "langgraph#8277",
        "an error that was handled is raised again beside siblings",
        branches(
            "an_error_that_a_fallback_handled_is_not_raised_again",
            "an_error_that_was_to_be_skipped_does_not_end_the_siblings",
        ),
    ),
    8: Row(
        "langgraph#8458",
        "going back into a graph within a graph runs all of it again",
        branches(
            "going_back_into_a_workflow_within_does_not_run_all_of_it_again",
            "a_fork_behind_a_workflow_within_keeps_all_of_it",
            "a_fork_within_a_workflow_within_keeps_the_rest_of_it",
        ),
    ),
    9: Row(
        "langgraph#4987",
        "after going back, the history no longer moves on",
        branches("each_fork_has_an_id_of_its_own_and_its_ancestors_stay_as_they_were"),
    ),
    10: Row(
        "langchain-academy#40",
        "looking back calls the model again",
        branches("looking_back_calls_no_model_and_a_fork_says_first_what_it_will_call")
        + other("unit/hall/test_replay", "a_replay_executes_nothing_and_records_nothing"),
    ),
    11: Row(
        "langgraph#8039, langgraph#8234, langgraph#8764",
        "a race of writes decides what is repeated, and an accepted run is lost",
        kept("a_run_that_was_accepted_is_there_though_its_process_died_at_once")
        + other("unit/runs/test_runs_live", "a_run_that_crashed_after_any_record_comes_to_the_same_log")
        + other(
            "unit/engine/test_engine_calling",
            "a_crash_after_a_call_is_no_failure_of_the_body",
            "a_store_that_breaks_at_any_record_of_a_body_that_calls_stops_the_run_there",
        )
        + other("unit/hall/test_live_run", "before_an_effect_acts_its_start_is_durable")
        + other("crash/test_runs_kill", "runs_reach_the_same_end_however_often_their_process_is_killed"),
    ),
    12: Row(
        "langgraph#7066, langgraph#8184",
        "values of some types come back as dicts, without a word",
        kept(
            "values_are_what_they_were_after_a_restart_without_a_server",
            "a_type_that_the_annotation_does_not_name_is_refused_and_not_turned_into_another",
        )
        + other("unit/model/test_model_codec", "what_would_be_lost_without_a_word_is_refused"),
    ),
    13: Row(
        "langgraph#8606, langgraph-codeact#8",
        "something cannot be stored, and nobody says what",
        other("properties/test_value_edges", "a_codec_error_says_run_step_path_type_and_remedy")
        + other("unit/hall/test_live_run", "a_value_that_cannot_be_stored_is_named"),
    ),
    14: Row(
        "langgraph#8522; langchain-mongodb#260; rag-template#294",
        "reading what was stored can run code",
        kept("no_room_that_reads_a_store_can_load_code_from_it")
        + other("unit/model/test_model_arrays", "pickles_are_not_read"),
    ),
    15: Row(
        "langgraphjs#1138, deer-flow#4189, ai-platform-engineering#1238",
        "what is kept grows without bound",
        kept("a_large_value_that_many_steps_hand_on_is_stored_once", "what_is_no_longer_needed_can_be_removed")
        + other("properties/test_shared_context", "200_steps_that_each_append_a_kilobyte_record_less_than_a_megabyte"),
    ),
    16: Row(
        "TradingAgents#1089; langchain-ai/docs#3843",
        "a resume goes on with another graph, and nobody is told",
        other(
            "unit/runs/test_runs_resume",
            "a_changed_step_runs_again_and_it_is_said_first",
            "keep_goes_on_with_what_is_recorded",
            "each_node_can_be_told_what_to_do",
            "nodes_come_and_go",
        )
        + other("unit/hall/test_live_run", "a_changed_step_is_noticed_on_resume"),
    ),
    17: Row(
        "dbos-transact-py#688, dbos-transact-py#551, dbos-transact-py#452",
        "records are told apart by a counter, so parallel steps are mixed up on recovery",
        branches("calls_made_in_another_order_on_recovery_are_not_mixed_up"),
    ),
    18: Row(
        "dbos-transact-py#260, dbos-transact-py#804",
        "a crash between attempts breaks recovery, and a forked run is never taken up",
        kept(
            "a_crash_between_attempts_neither_repeats_nor_forgets_one",
            "a_fork_that_nobody_started_is_told_and_can_be_taken_up",
        )
        + other(
            "unit/store/test_store_shared",
            "stuck_says_why",
            "a_run_of_another_process_is_seen_and_taken_over_when_that_is_gone",
        )
        + other("unit/store/test_store_holder", "a_run_of_another_machine_is_held_until_its_lease_expires"),
    ),
    19: Row(
        "ipykernel#311, ipykernel#65, ipykernel#646; ipywidgets#3145; vscode-jupyter#17360",
        "a cell that runs cannot wait for a click",
        people("a_click_is_taken_while_a_cell_awaits_the_run")
        + other("unit/hall/test_live_run", "a_run_can_be_awaited_in_any_loop"),
        "the click of a real widget in a real kernel: the card for answers is not there yet",
    ),
    20: Row(
        "jupyterlab#19719, jupytergis#1481",
        "callbacks come on another thread and race with cells",
        notebook("what_other_threads_say_is_taken_on_the_engines_thread_alone")
        + other("unit/clock/test_live_host", "a_value_from_a_thread_arrives_on_the_loop")
        + other("unit/hall/test_live_run", "of_many_answers_at_once_exactly_one_is_taken"),
        "the callbacks of widgets: there are no widgets yet",
    ),
    21: Row(
        "ipykernel#1510; ipywidgets#4012, ipywidgets#3993, ipywidgets#2567",
        "output of background work goes astray from one version of the kernel to the next",
        notebook("a_cell_that_blocks_the_kernels_loop_does_not_stop_a_run"),
        "the widget that shows a run, and the kernels that it is tried in, are not there yet",
    ),
    22: Row(
        "openai-agents-python#77, pydantic-ai#144, llama_deploy#162",
        "the first example fails in a notebook, whose loop runs already",
        notebook("the_first_example_runs_where_a_loop_runs_already"),
    ),
    23: Row(
        "duckdb#77, duckdb#17158, duckdb#13558",
        "a notebook that holds the file keeps everybody else out",
        kept("others_can_read_a_copy_while_a_notebook_holds_the_file")
        + other(
            "unit/store/test_store_shared",
            "a_run_of_another_process_is_seen_and_taken_over_when_that_is_gone",
            "when_the_owner_goes_the_other_takes_its_place_and_goes_on",
        )
        + other("unit/store/test_store_opening", "another_process_holds_it_by_duckdb_itself"),
    ),
    24: Row(
        "langgraph#1394, langgraph#4969, langgraph#4660",
        "branches are drawn wrongly, and the picture needs a server",
        notebook(
            "a_drawing_asks_no_server_and_starts_no_program",
            "the_arrows_of_a_route_are_the_targets_that_it_declares",
            "a_route_that_returns_what_it_did_not_declare_fails_the_run_and_names_it",
        ),
    ),
    25: Row(
        "hamilton#205, burr#202, hamilton#1182",
        "to see the graph one has to install and call something",
        notebook("naming_an_object_shows_it", "drawing_needs_nothing_but_python"),
        "an experiment that has not run shows itself as one line of text; its results as tables",
    ),
    26: Row(
        "hamilton#1263",
        "no tool is async, caches and has branches at once",
        branches("a_slow_sibling_delays_no_branch_that_does_not_need_it")
        + other("unit/runs/test_runs_resume", "what_follows_runs_again_only_where_values_change")
        + other("unit/runs/test_runs_fork", "a_fork_keeps_what_does_not_follow"),
        "what is recorded is used again within a run and by its forks; a cache of steps between runs is not there",
    ),
    27: Row(
        "pydantic-ai#3790, pydantic-ai#5470",
        "graphs of pydantic values cannot be persisted without another product",
        kept("values_are_what_they_were_after_a_restart_without_a_server"),
    ),
    28: Row(
        "pydantic-ai#4455",
        "a hedge is wanted, and what it brings",
        policies("a_hedge_can_be_measured_before_it_is_adopted")
        + other("unit/engine/test_engine_policies", "a_hedge_takes_the_first_that_delivers_and_cancels_the_other")
        + other("unit/experiments/test_exp_run", "what_was_given_up_has_cost_what_it_cost"),
    ),
    29: Row(
        "baml#2039, crewAI#3032, embabel-agent#1426",
        "a provider that hangs is never left for another",
        policies(
            "a_provider_that_hangs_fails_over_and_is_left_alone_after_that",
            "a_hang_ends_whatever_the_defences_around_it",
        ),
    ),
    30: Row(
        "openai-agents-python#2748, strands-agents/evals#167, llm-d-inference-sim#506",
        "faults that strike the first so many times are wanted, besides rates",
        policies(
            "the_first_two_fail_and_then_it_succeeds_for_each_of_many_at_once",
            "a_rate_strikes_the_same_attempts_whatever_runs_beside_them",
        )
        + other("unit/faults/test_faults", "triggers_count_the_attempts_of_each_instance"),
        "faults in a window of time and by a predicate are not there yet, nor faults on the wire of a client",
    ),
    31: Row(
        "hive#1701, agent-framework#6397; obsidian-gemini#688, curie#332, fullsend#2460; prefect#12279, prefect#20388",
        "budgets stop nobody, one run is taken for a proof, a wrong answer ends a run, what is suspended goes on",
        policies(
            "a_budget_stops_what_would_exceed_it_also_among_many_at_once",
            "a_budget_may_go_on_with_less",
            "a_budget_may_ask_a_person_before_the_next_call",
            "too_few_runs_do_not_make_a_winner",
        )
        + people("an_answer_that_does_not_fit_neither_ends_the_run_nor_its_question")
        + other("unit/experiments/test_exp_compare", "compare_has_a_row_per_metric_arm_and_plan")
        + other("unit/hall/test_live_run", "a_suspended_run_goes_on_from_where_it_was"),
    ),
}


@cache
def names_in(path: str) -> frozenset[str]:
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    body = ast.parse(file.read_text()).body
    return frozenset(node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_every_row_is_there_with_a_proof_or_a_reason() -> None:
    assert [*TABLE] == [*range(1, 32)]
    for number, row in TABLE.items():
        assert row.threads, number
        assert row.trouble, number
        assert row.proofs or row.waits, number


@pytest.mark.parametrize("number", TABLE)
def test_every_proof_is_a_test_that_exists(number: int) -> None:
    for proof in TABLE[number].proofs:
        path, _, name = proof.partition("::")
        assert name in names_in(path), proof


def test_every_test_of_a_complaint_is_in_the_table() -> None:
    proofs = {proof for row in TABLE.values() for proof in row.proofs}
    for file in sorted(Path(__file__).parent.glob("test_complaints_*.py")):
        path = str(file.relative_to(ROOT).as_posix())
        for name in names_in(path):
            assert not name.startswith("test_") or f"{path}::{name}" in proofs, f"{path}::{name}"

#!/usr/bin/python3
"""The pure parts of ./dev bench compare: accounts, statistics, tables, charts, finished pieces."""

import contextlib
import io
import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "bench", "compare"), os.path.join(ROOT, "tests", "cluster")]

import background  # noqa: E402
import charts  # noqa: E402
import cluster  # noqa: E402
import compare  # noqa: E402
import measure  # noqa: E402
import postgresql  # noqa: E402
import report  # noqa: E402
import systems  # noqa: E402
import workloads  # noqa: E402

SETTINGS = {"memory_keys": 1000, "restart_entries": 500, "seconds": 5, "connections": 3, "ranges": 16, "keys": 10}


def load_figures(per_s, **others):
    return {"per_s": per_s, "p50_ms": 1.0, "p99_ms": 2.0, **others}


class Accounts(unittest.TestCase):
    def test_a_name_with_blanks_and_brackets_does_not_shift_the_fields(self):
        tail = "S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 9 0 777 1000000 25"
        cpu_s, resident_bytes = measure.parse_stat(f"42 (a ) b (c) {tail} 18446744073709551615")
        self.assertAlmostEqual(cpu_s, 400 / measure.TICKS_PER_S)
        self.assertEqual(resident_bytes, 25 * measure.PAGE_BYTES)

    def test_own_process_is_readable(self):
        self.assertGreater(measure.account(os.getpid())["resident_bytes"], 1 << 20)

    def test_written_bytes_are_those_of_the_disk(self):
        self.assertEqual(measure.parse_written("wchar: 9\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n"), 4096)
        self.assertEqual(measure.parse_written("rchar: 1\n"), 0)

    def test_spent_is_the_difference_per_operation(self):
        before = {"node": {"cpu_s": 1.0, "written_bytes": 100, "resident_bytes": 1}}
        after = {"node": {"cpu_s": 3.0, "written_bytes": 1100, "resident_bytes": 7}}
        node = measure.spent(before, after, 500)["node"]
        self.assertAlmostEqual(node["cpu_s_per_1000"], 4.0)
        self.assertAlmostEqual(node["written_bytes_per_operation"], 2.0)
        self.assertEqual(node["resident_bytes"], 7)
        self.assertIsNone(measure.spent(before, after, 0)["node"]["cpu_s_per_1000"])

    def test_servers_are_all_but_the_generator(self):
        processes = {"a": {"x": 1.0}, "b": {"x": 2.0}, "generator": {"x": 50.0}}
        self.assertEqual(measure.server_sum(processes, "x"), 3.0)
        self.assertIsNone(measure.server_sum({"a": {"x": None}}, "x"))


class Statistics(unittest.TestCase):
    def test_spread_ignores_rounds_without_the_figure(self):
        values = report.spread([3, None, 1, 2])
        self.assertEqual((values.median, values.low, values.high, values.rounds), (2, 1, 3, 3))
        self.assertIsNone(report.spread([None]))

    def test_ratios_are_made_within_rounds(self):
        # The medians would give 2; within each round it is 1, 4 and 1.
        rounds = [{"etcd": {"put-256": load_figures(e)}, "flotilla": {"put-256": load_figures(f)}}
                  for e, f in ((100, 100), (50, 200), (300, 300))]
        row = self.target("puts, 256").row(rounds)
        self.assertEqual((row["ratio"].median, row["ratio"].low, row["ratio"].high), (1, 1, 4))
        self.assertIs(row["met"], False)

    def test_the_best_of_etcd_counts(self):
        rounds = [{"etcd": {"hot-one-1-known": load_figures(1000), "hot-one-64-read": load_figures(50),
                            "hot-one-64-known": load_figures(100)},
                   "flotilla": {"hot-one-64": load_figures(20000)}}]
        self.assertEqual(self.target("etcd with 64").row(rounds)["ratio"].median, 200)
        self.assertIs(self.target("etcd with 64").row(rounds)["met"], True)
        self.assertEqual(self.target("etcd at its best").row(rounds)["ratio"].median, 20)

    def test_less_is_better_where_the_target_says_so(self):
        rounds = [{"etcd": {"failover": {"gap_ms": 1000}}, "flotilla": {"failover": {"gap_ms": 250}}}]
        self.assertIs(self.target("longest gap").row(rounds)["met"], True)
        rounds[0]["flotilla"]["failover"]["gap_ms"] = 251
        self.assertIs(self.target("longest gap").row(rounds)["met"], False)

    def test_what_was_not_measured_is_neither_met_nor_missed(self):
        rounds = [{"etcd": {"put-256": load_figures(1)}}]
        self.assertIsNone(self.target("puts, 256").row(rounds)["met"])
        self.assertEqual(report.summary(rounds, SETTINGS)["targets_measured"], 0)

    def test_every_target_names_measurements_that_a_full_run_makes(self):
        made = {"etcd": set(), "flotilla": set()}
        for group in workloads.groups(workloads.Settings()).values():
            for load in getattr(group, "loads", [group]):
                for name in made:
                    if getattr(load, "only", "") in ("", name):
                        made[name].add(load.name)
        for target in report.targets(SETTINGS):
            self.assertLessEqual(set(target.etcd), made["etcd"], target.text)
            self.assertLessEqual(set(target.flotilla), made["flotilla"], target.text)

    @staticmethod
    def target(text):
        return next(target for target in report.targets(SETTINGS) if text in target.text)


class Tables(unittest.TestCase):
    def test_table_is_markdown(self):
        self.assertEqual(report.table(["a", "b"], [["x|y", "1"]]), "| a | b |\n|---|---:|\n| x\\|y | 1 |")

    def test_numbers_have_three_digits_that_matter(self):
        shown = [report.number(value) for value in (None, 0.1234, 12.34, 123.4, 12345.6)]
        self.assertEqual(shown, ["–", "0.12", "12.3", "123", "12,346"])

    def test_ranges_are_shown_over_several_rounds_only(self):
        self.assertEqual(report.with_range(report.spread([2.0])), "2.00")
        self.assertEqual(report.with_range(report.spread([1.0, 2.0, 4.0])), "2.00 (1.00 to 4.00)")

    def test_page_has_every_measurement_and_process(self):
        processes = {role: {"cpu_s_per_1000": 0.1, "resident_bytes": 1 << 20} for role in ("n1", "generator")}
        rounds = [{"etcd": {"put-256": load_figures(5, processes=processes), "memory": {"leader_mib": 300}},
                   "flotilla": {"put-256": load_figures(9, processes=processes)}}]
        page = report.text(rounds, {"kernel": "x"}, SETTINGS, [("a.svg", "A chart")])
        for part in ("1.80", "| n1 |", "resident, leader, MiB", "![A chart](a.svg)", "500 entries", "not measured"):
            self.assertIn(part, page)


class Charts(unittest.TestCase):
    def test_points_are_medians_with_their_range(self):
        rounds = [{"etcd": {"put-1": load_figures(v)}} for v in (1, 5, 3)]
        self.assertEqual(charts.points(rounds, "etcd", {1: "put-1", 16: "put-16"}, "per_s"), [(1, 3, 1, 5)])

    def test_script_draws_each_system(self):
        text = charts.script(charts.CHARTS[0], {"etcd": [(1, 2, 1, 3)], "flotilla": [(16, 5, 4, 6)]}, "x.svg")
        for part in ("$etcd << END\n1 2 1 3\nEND", "title 'flotilla'", "set output 'x.svg'", "'16' 16"):
            self.assertIn(part, text)


class FinishedPieces(unittest.TestCase):
    def setUp(self):
        self.directory = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "pieces")
        self.settings = workloads.Settings()

    def test_pieces_of_all_groups_make_rounds(self):
        pieces = compare.Pieces(self.directory, self.settings, False)
        pieces.put("put", 1, "etcd", {"put-1": {"per_s": 1}})
        pieces.put("hot", 1, "etcd", {"hot-1": {"per_s": 2}})
        pieces.put("put", 10, "flotilla", {"put-1": {"per_s": 3}})
        self.assertEqual(pieces.rounds(), [{"etcd": {"put-1": {"per_s": 1}, "hot-1": {"per_s": 2}}},
                                           {"flotilla": {"put-1": {"per_s": 3}}}])

    def test_resume_keeps_what_is_finished(self):
        compare.Pieces(self.directory, self.settings, False).put("put", 1, "etcd", {})
        self.assertTrue(compare.Pieces(self.directory, self.settings, True).has("put", 1, "etcd"))
        self.assertFalse(compare.Pieces(self.directory, self.settings, False).has("put", 1, "etcd"))

    def test_resume_refuses_other_settings_but_takes_more_rounds(self):
        compare.Pieces(self.directory, self.settings, False).put("put", 1, "etcd", {})
        self.settings.rounds += 1
        compare.Pieces(self.directory, self.settings, True)
        self.settings.keys += 1
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            compare.Pieces(self.directory, self.settings, True)


class BesideOtherLoad(unittest.TestCase):
    def rounds(self, beside):
        return [{"etcd": {"put-256": load_figures(10)}, "flotilla": {"put-256": load_figures(30)},
                 "etcd+neighbours": {"put-256": load_figures(10)}, "flotilla+neighbours": {"put-256": load_figures(beside)}}]

    def test_a_row_below_half_of_its_quiet_ratio_has_fallen(self):
        self.assertEqual(report.fallen_rows(self.rounds(15), SETTINGS), [])
        self.assertEqual(len(report.fallen_rows(self.rounds(14.9), SETTINGS)), 1)
        self.assertIn("**fallen**", report.beside_table(self.rounds(14.9), SETTINGS))

    def test_where_less_is_better_twice_the_ratio_is_the_bound(self):
        def rounds(p50_ms):
            one = {name: {"put-1": load_figures(1)} for name in ("etcd", "flotilla", "etcd+neighbours")}
            return [{**one, "flotilla+neighbours": {"put-1": {**load_figures(1), "p50_ms": p50_ms}}}]
        self.assertEqual(report.fallen_rows(rounds(2.0), SETTINGS), [])
        self.assertEqual(len(report.fallen_rows(rounds(2.1), SETTINGS)), 1)

    def test_nothing_is_said_when_it_was_not_measured(self):
        rounds = [{"etcd": {"put-256": load_figures(10)}, "flotilla": {"put-256": load_figures(30)}}]
        self.assertEqual(report.pairs(rounds, SETTINGS), [])
        self.assertNotIn("Beside other load", report.text(rounds, {}, SETTINGS))

    def test_quiet_and_loaded_runs_alternate(self):
        settings = workloads.Settings(rounds=1)
        steps = compare.plan([workloads.put_group(settings), workloads.groups(settings)["failover"]], settings,
                             [systems.Etcd, systems.Flotilla, postgresql.Postgresql], True)
        self.assertEqual([(group.name, system.name, beside) for _, group, system, beside in steps], [
            ("put", "etcd", False), ("put", "flotilla", False), ("put", "postgresql", False),
            ("put", "etcd", True), ("put", "flotilla", True), ("put", "postgresql", True),
            ("failover", "etcd", False), ("failover", "flotilla", False),
            ("failover", "etcd", True), ("failover", "flotilla", True)])

    def test_the_load_gives_way_and_ends_with_its_context(self):
        with background.load(loops=1) as children:
            pid = children[0].pid
            nice = lambda: os.getpriority(os.PRIO_PROCESS, pid)  # noqa: E731
            cluster.wait_until("the loop is nice", lambda: nice() >= background.NICE, 10)
        self.assertIsNotNone(children[0].returncode)


class Postgresql(unittest.TestCase):
    def load(self, name):
        settings = workloads.Settings()
        loads = [load for group in (workloads.put_group(settings), workloads.hot_group(settings),
                                    workloads.read_group(settings)) for load in group.loads]
        return next(load for load in loads if load.name == name), settings

    def test_it_takes_the_loads_that_it_has(self):
        for name, fits in (("put-1", True), ("hot-one-64", True), ("get-64", True), ("put-pipelined", False),
                           ("hot-one-64-read", False), ("get-stale-64", False), ("scan-64", False)):
            self.assertEqual(self.load(name)[0].fits("postgresql"), fits, name)

    def test_scripts_draw_what_the_others_draw(self):
        put = postgresql.script_of(*self.load("put-1"))
        self.assertIn("random(0, 99999)", put)
        self.assertIn("'" + "x" * 256 + "'", put)
        self.assertIn("random(1, 1)", postgresql.script_of(*self.load("hot-one-64")))
        self.assertIn("random_zipfian(1, 256, 1.001)", postgresql.script_of(*self.load("hot-zipf-64")))

    def test_latencies_are_read_from_every_log_and_sorted(self):
        with tempfile.TemporaryDirectory() as directory:
            for number, lines in enumerate(("0 1 900 0 1 1\n0 2 100 0 1 2\n", "1 1 500 0 1 3\n")):
                with open(f"{directory}/log.{number}", "w", encoding="ascii") as file:
                    file.write(lines)
            self.assertEqual(postgresql.read_latencies(f"{directory}/log"), [100, 500, 900])


class Loads(unittest.TestCase):
    def test_both_get_the_same_options_but_for_what_is_their_own(self):
        settings = workloads.Settings()
        load = next(load for load in workloads.put_group(settings).loads if load.name == "put-256")
        etcd, flotilla = (load.arguments(name, settings) for name in ("etcd", "flotilla"))
        self.assertEqual(etcd, [o for o in flotilla if o != "--unary"])
        self.assertIn("--unary", flotilla)
        self.assertIn("--no-spread", flotilla)

    def test_memory_is_no_disk(self):
        self.assertFalse(systems.on_disk("/dev/shm/x"))
        self.assertFalse(systems.on_disk("/proc/../dev/shm"))


if __name__ == "__main__":
    # The filter of ./dev test, as it is given to Criterion's programs.
    patterns = [part for argument in sys.argv[1:] if argument.startswith("--filter=")
                for part in ("-k", argument.partition("=")[2])]
    unittest.main(argv=sys.argv[:1] + patterns)

#!/usr/bin/python3
"""The pure parts of ./dev bench scale and slow-follower: neighbours, plans, ratios, pages."""

import os
import shutil
import sys
import tempfile
import unittest
from types import SimpleNamespace

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "bench", "experiments"), os.path.join(ROOT, "bench", "compare"),
                os.path.join(ROOT, "tests", "cluster")]

import neighbours  # noqa: E402
import scale  # noqa: E402
import scale_report  # noqa: E402
import slow_disk  # noqa: E402
import slow_follower  # noqa: E402
import thaw  # noqa: E402


class Neighbours(unittest.TestCase):
    def test_waiting_is_no_work_and_steal_is(self):
        line = "cpu  100 10 50 9999 9999 5 5 30 7 7"
        self.assertAlmostEqual(neighbours.parse_busy_s(line), 200 / neighbours.measure.TICKS_PER_S)

    def test_what_the_measured_did_is_not_the_others(self):
        def mark(at, busy_s, own_s):
            return SimpleNamespace(at=at, busy_s=busy_s, own_s=lambda: own_s)
        self.assertAlmostEqual(neighbours.others_share(mark(0, 10, 1), mark(4, 17, 6), 2), 2 / 8)
        self.assertEqual(neighbours.others_share(mark(0, 10, 1), mark(4, 15, 6.1), 2), 0)


class SlowDisk(unittest.TestCase):
    def test_the_threads_that_sync_often_are_found(self):
        traced = ("strace: Process 7 attached with 4 threads\n[pid    9] fdatasync(12 <unfinished ...>\n"
                  "[pid    8] fsync(3)       = 0\n[pid    9] <... fdatasync resumed>) = 0\n")
        traced += "[pid    9] fdatasync(12) = 0\n" * 30 + "[pid    6] fdatasync(12) = 0\n" * 5
        self.assertEqual(slow_disk.often_syncing(traced, 7), [6, 9])
        self.assertEqual(slow_disk.often_syncing("fdatasync(12) = 0\n", 7), [7])

    def test_no_sync_is_told_with_the_tracer_s_words(self):
        with self.assertRaisesRegex(slow_disk.CannotTrace, "Operation not permitted"):
            slow_disk.often_syncing("strace: attach: ptrace(PTRACE_SEIZE, 7): Operation not permitted\n", 7)


class SlowFollower(unittest.TestCase):
    def test_ratios_are_made_within_a_pair(self):
        pairs = [{"before": {"p50_us": before}, "slow": {"p50_us": slow}}
                 for before, slow in ((100, 110), (1000, 1200), (500, 450))]
        row = slow_follower.summary(64, pairs)
        self.assertEqual((row["ratio"], row["ratio_range"]), (1.1, [0.9, 1.2]))
        self.assertEqual(row["slow"]["p50_us"], 450)


class Thaw(unittest.TestCase):
    def test_shares_are_of_the_seconds_before(self):
        lines = [f"   {second} s      {rate} puts/s   p50 1.00 ms" for second, rate in
                 enumerate([0, 50, 100, 100, 70] + [90] * 5 + [1, 40] + [80] * 7)]
        figures = thaw.shares(thaw.rates_of(lines), 5)
        self.assertEqual((figures["before"], figures["still"]), (100, 0.9))
        self.assertEqual((figures["after"], figures["worst"]), (0.8, 0.01))


def one_round(**rates):
    return {"flotilla": {name.replace("_", "-"): {"per_s": rate, "p50_ms": 1.0, "p99_ms": 2.0, "server_cpu_us": 30.0,
                                                  "written_bytes": 900.0} for name, rate in rates.items()}}


class Scale(unittest.TestCase):
    def test_rounds_run_to_and_fro(self):
        names = [(number, point.name) for number, point in scale.plan(["ranges"], 2)]
        self.assertEqual(names[:2], [(1, "ranges-1"), (1, "ranges-4")])
        self.assertEqual(names[-1], (2, "ranges-1"))
        self.assertEqual(len(names), 2 * len(scale_report.RANGES))

    def test_large_values_are_fewer_at_a_time(self):
        settings = scale.Settings()

        def in_flight(size):
            options = scale.pipelined(settings, size, settings.in_flight)
            return options[options.index("--in-flight") + 1]
        self.assertEqual(in_flight(256), settings.in_flight)
        self.assertEqual(in_flight(65536) * settings.clients * 65536, settings.outstanding_bytes)

    def test_many_ranges_are_measured_with_more_in_flight_too(self):
        points = {point.name: point for _, point in scale.plan(list(scale_report.RANGE_KINDS), 1)}
        self.assertEqual([points[f"{kind}-64"].kind for kind in scale_report.RANGE_KINDS], ["ranges", "deep", "full"])
        self.assertEqual(points["deep-64"].ranges, 64)
        settings = scale.Settings()
        self.assertLess(settings.in_flight, settings.deep_in_flight)
        # "full": what the bound on bytes allows for the values of this series, and many for each of 1,024 ranges
        self.assertEqual(settings.full_in_flight * settings.clients * settings.value_bytes, settings.outstanding_bytes)
        self.assertEqual(settings.full_in_flight * settings.clients // 1024, 32)

    def test_a_fall_within_one_round_fails(self):
        good = scale_report.summary([one_round(ranges_1=100, ranges_1024=90), one_round(ranges_1=50, ranges_1024=44)])
        bad = scale_report.summary([one_round(ranges_1=100, ranges_1024=84)])
        self.assertTrue(good["ranges"]["met"])
        self.assertFalse(bad["ranges"]["met"])
        self.assertEqual(bad["ranges"]["of_one_range"][1024], 0.84)

    def test_the_knee_is_where_the_offered_load_is_still_met(self):
        rounds = [one_round(offered_10000=10_000, offered_20000=19_900, offered_30000=22_000)]
        self.assertEqual(scale_report.knee(rounds), 20_000)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_page_and_charts_show_what_was_measured(self):
        rounds = [one_round(ranges_1=100, ranges_1024=90, deep_1=200, deep_1024=150, full_1=200, full_1024=190)]
        with tempfile.TemporaryDirectory() as out:
            drawn = scale_report.draw(rounds, out)
            self.assertEqual([name for name, _ in drawn], ["scale-ranges.svg", "scale-deep.svg", "scale-full.svg"])
            with open(os.path.join(out, "scale-ranges.svg"), encoding="utf-8") as file:
                self.assertIn("ranges", file.read())
        page = scale_report.text(rounds, {"kernel": "k"}, {"seconds": 4, "keys": 1, "clients": 8, "in_flight": 2, "deep_in_flight": 9, "full_in_flight": 77,
                                                           "outstanding_bytes": 1 << 20}, drawn)
        self.assertIn("| 1,024 | 90.0 | 0.90 |", page)
        self.assertIn("8 clients with 9 requests", page)
        self.assertIn("| 1,024 | 150 | 0.75 |", page)
        self.assertIn("8 clients with 77 requests", page)
        self.assertIn("| 1,024 | 190 | 0.95 |", page)
        self.assertNotIn("Size of values", page)


if __name__ == "__main__":
    unittest.main()

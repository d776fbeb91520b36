"""Where there is no browser, say aloud that the page was not tested."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the reasons of what was left out, which pytest only shows when asked."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {str(report.longrepr[2]) for report in skipped if "LEFT OUT" in str(report.longrepr)}
    for why in sorted(reasons):
        terminalreporter.section("The page was NOT tested in a browser", red=True)
        terminalreporter.write_line(why)
        terminalreporter.write_line("TICKERTONE_TEST_BROWSER=require turns this into a failure.")

"""Defences of coding tasks: of what grades an agent's code, of a task's Python, and of pictures that an agent left."""

from __future__ import annotations

from tests.bench.defences_table.defence import BOX, Defence

COPIES = "tests/sandbox/grading/test_grading_copies.py::"
INTERPRETERS = "tests/sandbox/backends/test_interpreters.py::"
PICTURES = "tests/media/test_attached.py::"
OPENED = "pytest_rltask/media/opened.py"

CODING = (
    Defence(
        "isolated_grade: files copied by what they hold",
        (
            (
                f"{BOX}workspace.py",
                "            for start, end in _extents(source, status.st_size):\n",
                "            for start, end in ((0, status.st_size),):\n",
            ),
        ),
        (f"{COPIES}test_a_file_of_holes_is_copied_as_what_it_holds",),
    ),
    Defence(
        "isolated_grade: limits of what is copied",
        (
            (f"{BOX}taking.py", "        if number > limits.disk_files:\n", "        if False:\n"),
            (f"{BOX}workspace.py", "                    if taken > room:\n", "                    if False:\n"),
        ),
        (f"{COPIES}test_more_than_the_limits_is_the_agents_miss",),
        "both: the limits of the fresh sandbox are looked at once its files are there",
    ),
    Defence(
        "isolated_grade: jobs of shells ended first",
        (
            (
                f"{BOX}sandbox.py",
                "        for shell in self._shells:\n            shell.end_jobs()\n",
                "        return\n",
            ),
        ),
        (f"{COPIES}test_what_a_shell_left_at_work_ends_before_its_files_are_copied",),
    ),
    Defence(
        "python=: a second copy of the suite hidden",
        ((f"{BOX}backends/view.py", "        found.add(copy)\n", "        pass\n"),),
        (f"{INTERPRETERS}test_a_second_copy_of_the_suite_in_it_is_hidden",),
    ),
    Defence(
        "Image and Pdf: no link followed",
        ((OPENED, "_HOW | os.O_NOFOLLOW | (0 if is_last", "_HOW | (0 if is_last"),),
        (f"{PICTURES}test_no_link_of_an_agents_is_followed",),
    ),
    Defence(
        "Image and Pdf: no file of several names",
        ((OPENED, "    if os.fstat(above).st_nlink != 1 and ", "    if False and "),),
        (f"{PICTURES}test_no_link_of_an_agents_is_followed",),
    ),
)

"""The page at `/`: departments, five questions to click, an answer that says who gave it, refusals that help."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import gateway.server
from tests.cli.stub_gateway import EVIL, TOKEN, Stub

pytestmark = pytest.mark.browser
CONSOLE = Path(gateway.server.__file__).parent / "console"


def ask(page: Page, sql: str) -> None:
    page.locator("#sql").fill(sql)
    page.locator("#sql").press("Control+Enter")


def test_the_first_screen_shows_departments_with_their_state_and_five_questions(page: Page) -> None:
    expect(page.locator("[data-department]")).to_have_count(2)
    expect(page.locator('[data-department="water"] .state')).to_have_text("up")
    expect(page.locator('[data-department="health"] .state')).to_have_text("down")
    expect(page.locator("[data-question]")).to_have_count(5)
    expect(page.locator("#user")).to_have_value("lin")


def test_a_click_on_a_question_asks_it_and_shows_who_answered_masks_and_time(page: Page, city: Stub) -> None:
    page.locator('[data-question="q3"]').click()
    expect(page.locator("#sql")).to_have_value("SELECT 3")
    expect(page.locator("table tbody tr")).to_have_count(3)
    assert city.bodies[-1]["purpose"] == "mass-balance"
    lane = page.locator('[data-lane="water"]')
    expect(lane).to_contain_text("done")
    expect(lane).to_contain_text("0.12 s")
    expect(lane).to_contain_text("account.phone: deny")
    expect(page.locator(".legend")).to_have_text("F1 dumping, F2 shell buyer")
    expect(page.locator(".summary").first).to_have_text(
        "3 rows · 1 department asked · 1.3 s · 2 cells absent · receipt water-000042"
    )
    expect(page.locator(".warning")).to_have_text("2 cells are absent: fewer than 10 persons.")


def test_a_question_of_ones_own_has_no_legend(page: Page) -> None:
    ask(page, "SELECT 1")
    expect(page.locator("table tbody tr").first).to_be_visible()
    expect(page.locator(".legend")).to_be_hidden()


def test_the_table_shows_types_numbers_to_the_right_and_null_as_a_word(page: Page) -> None:
    ask(page, "SELECT 1")
    expect(page.locator("th small").nth(2)).to_have_text("decimal(18,3)")
    number = page.locator("tbody tr").first.locator("td").nth(2)
    expect(number).to_have_text("1234.500")
    expect(number).to_have_css("text-align", "right")
    expect(page.locator("tbody tr").first.locator("td").nth(3)).to_have_text("NULL")


def test_data_is_text_and_never_markup(page: Page) -> None:
    ask(page, "SELECT 1")
    expect(page.locator("tbody tr").nth(1)).to_contain_text(EVIL.split(" \x1b")[0])
    assert page.locator("#result img").count() == 0


def test_a_refusal_says_who_which_rule_and_what_to_do(page: Page) -> None:
    ask(page, "SELECT ward FROM health.main.stay")
    error = page.locator("#result .error")
    expect(error).to_contain_text("Refused by health")
    expect(error).to_contain_text("Rows of stay are not shown.")
    expect(error).to_contain_text("aggregate mode")
    expect(error).to_contain_text("Ask for sums by district: floor 10 persons.")


def test_a_typing_error_has_carets_under_the_word(page: Page) -> None:
    ask(page, "SELECT\n  distrct_code FROM water.main.account")
    lines = page.locator("#result pre").inner_text().split("\n")
    assert lines == ["  distrct_code FROM water.main.account", "  ^^^^^^^^^^^^"]


def test_a_running_query_shows_its_lanes_and_can_be_stopped(page: Page, city: Stub) -> None:
    city.release.clear()
    ask(page, "SELECT slow on page")
    expect(page.locator('[data-lane="health"]')).to_contain_text("waiting")
    expect(page.locator('[data-lane="water"]')).to_contain_text("1,200 rows")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.locator("#stop").click()
    expect(page.locator("#result")).to_contain_text("Stopped.")
    expect(page.locator("#run")).to_be_enabled()
    assert "SELECT slow on page" in city.cancelled


def test_long_answers_are_cut_with_a_word_and_empty_ones_say_so(page: Page) -> None:
    ask(page, "SELECT many")
    expect(page.locator("tbody tr")).to_have_count(500)
    expect(page.locator("#result")).to_contain_text("The first 500 of 1,000 rows")
    ask(page, "SELECT none")
    expect(page.locator("#result")).to_contain_text("No row fits.")


def test_the_answer_can_be_taken_home_as_csv(page: Page) -> None:
    ask(page, "SELECT 1")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert Path(download.value.path()).read_text().startswith("district_code,n,qty,note")


def test_who_will_see_what_is_one_click(page: Page) -> None:
    page.locator("#sql").fill("SELECT 9")
    page.locator("#explain").click()
    expect(page.locator("#result pre")).to_have_text("water is sent:\n  SELECT 9")


def test_a_user_of_several_purposes_chooses_and_one_without_is_told(page: Page, city: Stub) -> None:
    page.locator("#user").fill("mei")
    page.locator("#user").press("Tab")
    expect(page.locator("#purpose option")).to_have_count(2)
    page.locator("#purpose").select_option("statistics")
    ask(page, "SELECT 1")
    expect(page.locator("tbody tr")).to_have_count(3)
    assert city.bodies[-1]["purpose"] == "statistics"
    page.locator("#user").fill("nobody")
    page.locator("#user").press("Tab")
    expect(page.locator("#departments .error")).to_contain_text("Who are you?")


def test_everything_can_be_reached_and_asked_with_the_keyboard_alone(page: Page) -> None:
    expect(page.locator("[data-question]")).to_have_count(5)
    reached = set()
    page.locator("body").press("Tab")
    for _ in range(25):
        reached.add(page.evaluate("document.activeElement.dataset.question || document.activeElement.id"))
        page.keyboard.press("Tab")
    assert {"user", "language", "theme", "q1", "q5", "sql", "run", "explain"} <= reached
    page.locator('[data-question="q1"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(3)


def test_chinese_is_one_click_and_stays(page: Page, city: Stub) -> None:
    page.locator("#language").click()
    expect(page.locator("h2").first).to_have_text("部门")
    expect(page.locator('[data-department="water"] .state')).to_have_text("正常")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "zh")


def test_dark_and_light_follow_the_system_and_can_be_turned(page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper)
    assert dark != light
    page.locator("#theme").click()
    assert page.evaluate(paper) == dark


def test_nothing_is_wider_than_1024_pixels(page: Page) -> None:
    ask(page, "SELECT 1")
    expect(page.locator("tbody tr")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1024


def test_a_gateway_without_the_open_door_asks_for_a_token(chromium: Browser, city: Stub) -> None:
    city.door = False
    context = chromium.new_context(viewport={"width": 1024, "height": 768}, locale="en-GB")
    page = context.new_page()
    page.goto(city.url)
    expect(page.locator("#token-field")).to_be_visible()
    expect(page.locator("#departments .error")).to_contain_text("Choose a user.")
    page.locator("#token").fill(TOKEN)
    page.locator("#token").press("Tab")
    expect(page.locator("[data-department]")).to_have_count(2)
    ask(page, "SELECT 1")
    expect(page.locator("tbody tr")).to_have_count(3)
    context.close()
    city.door = True


def test_a_gateway_that_has_gone_is_said_with_the_next_step(page: Page) -> None:
    page.route("**/api/**", lambda route: route.abort())
    ask(page, "SELECT 1")
    expect(page.locator("#result .error")).to_contain_text("This gateway does not answer.")
    expect(page.locator("#result .error")).to_contain_text("atoll demo")


def test_both_languages_have_every_word_that_the_page_uses(page: Page) -> None:
    used = set(re.findall(r'data-(?:say|hint|label)="(\w+)"', (CONSOLE / "index.html").read_text()))
    used |= set(re.findall(r'say\("(\w+)"', (CONSOLE / "console.js").read_text()))
    english, chinese = (set(page.evaluate(f"Object.keys(WORDS.{language})")) for language in ("en", "zh"))
    assert used
    assert used <= english
    assert english == chinese


def test_the_page_loads_nothing_from_elsewhere_and_builds_no_markup_from_text() -> None:
    for file in CONSOLE.iterdir():
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), file.name
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), file.name

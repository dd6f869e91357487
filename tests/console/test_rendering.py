"""What the console renders, after any change, is what it would have been from the beginning."""

from playwright.async_api import expect

ROUNDS = 400

RENDERED = """async ([module, rounds]) => {
    const { h, render } = await import(module);
    const pick = (most) => Math.floor(Math.random() * most);
    const leaf = () => [null, false, "text", 7, h("b", { class: ["x", pick(2) && "y"], title: pick(2) ? "t" : null }, pick(9))][pick(5)];
    const keyed = () => [..."abcdefgh"].sort(() => Math.random() - 0.5).slice(pick(9)).map((key) => h("li", { key, hidden: pick(2) > 0 }, leaf(), key));
    const tree = () => [leaf(), h(["ul", "ol"][pick(2)], null, keyed()), leaf(), h("svg", null, keyed().length > 3 && h("rect", { width: pick(9) }))];
    const shown = document.createElement("div");
    const wrong = [];
    for (let round = 0; round < rounds; round += 1) {
        const nodes = tree();
        const kept = new Map([...shown.querySelectorAll("li")].map((item) => [item.lastChild.data, item]));
        const list = shown.querySelector("ul, ol")?.tagName;
        const fresh = document.createElement("div");
        render(fresh, structuredClone(nodes));
        render(shown, nodes);
        if (shown.innerHTML !== fresh.innerHTML) wrong.push([round, shown.innerHTML, fresh.innerHTML]);
        if (shown.querySelector("rect") && !(shown.querySelector("rect") instanceof SVGRectElement)) wrong.push([round, "no SVG"]);
        if (shown.querySelector("ul, ol").tagName !== list) continue;
        for (const item of shown.querySelectorAll("li")) {
            const before = kept.get(item.lastChild.data);
            if (before && before !== item) wrong.push([round, "made anew", item.lastChild.data]);
        }
    }
    return wrong;
}"""


async def test_any_two_states_after_one_another_show_the_second_and_keep_what_is_in_both(page):
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    [module] = await page.evaluate(
        "[...document.querySelectorAll('link[rel=modulepreload]')].map(({href}) => href)"
        ".filter((href) => href.endsWith('/core/vdom.js'))"
    )

    assert await page.evaluate(RENDERED, [module, ROUNDS]) == []

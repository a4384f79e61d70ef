"use strict";
// The player of one episode: what the camera saw at a step, and what the plan in force expected some steps ahead.
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function cross([row, col], color) {
  const x = col + 0.5, y = row + 0.5, r = 1.9;
  const path = `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`;
  const group = element("g", {fill: "none"});
  group.append(element("path", {d: path, stroke: "#181c24", "stroke-width": 1.3}), element("path", {d: path, stroke: color, "stroke-width": 0.7}));
  return group;
}

function ring([row, col], radius) {
  const group = element("g", {fill: "none"});
  for (const [color, width] of [["#181c24", 1.1], ["#28c85a", 0.6]])
    group.append(element("circle", {cx: col + 0.5, cy: row + 0.5, r: radius, stroke: color, "stroke-width": width}));
  return group;
}

function show(view, size, strip, count, index, marks) {
  const [height, width] = size;
  const svg = view.querySelector("svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(element("image", {href: strip, x: -index * width, y: 0, width: width * count, height: height, preserveAspectRatio: "none"}), ...marks);
}

function decisionAt(episode, step) {
  let found = null;
  for (const decision of episode.decisions) if (decision.step <= step) found = decision;
  return found;
}

function start(player) {
  const episode = JSON.parse(player.querySelector("script").textContent);
  const [now, imagined, likely, later] = player.querySelectorAll(".view");
  const [stepInput, aheadInput] = player.querySelectorAll("input");
  const [stepText, aheadText] = player.querySelectorAll("label span");
  const last = episode.pixels.length - 1;
  const goal = () => ring(episode.goal, episode.tolerance);
  stepInput.max = Math.max(last - 1, 0);

  function draw() {
    const step = +stepInput.value, decision = decisionAt(episode, step);
    show(now, episode.size, episode.real, last + 1, step, [goal(), cross(episode.pixels[step], "#ff4040")]);
    stepText.textContent = `step ${step}, ${episode.distances[step].toFixed(1)} px from the goal`;
    if (!decision || !decision.count) return;
    aheadInput.max = decision.count - 1;
    const ahead = Math.min(+aheadInput.value, decision.count - 1), then = Math.min(decision.step + ahead + 1, last);
    const place = decision.pixels ? [cross(decision.pixels[ahead], "#4682ff")] : [];
    show(imagined, episode.size, decision.frames, decision.count, ahead, [goal(), ...place]);
    if (decision.heat) show(likely, episode.size, decision.heat, decision.count, ahead, [goal()]);
    likely.hidden = !decision.heat;
    show(later, episode.size, episode.real, last + 1, then, [goal(), cross(episode.pixels[then], "#ff4040")]);
    aheadText.textContent = `plan of step ${decision.step}, ${ahead + 1} step${ahead ? "s" : ""} ahead`;
    later.querySelector("figcaption").textContent = `Camera at step ${then} (after replanning)`;
  }

  let timer = null;
  const button = player.querySelector("button");
  button.addEventListener("click", () => {
    if (timer) { clearInterval(timer); timer = null; button.textContent = "Play"; return; }
    button.textContent = "Pause";
    timer = setInterval(() => { stepInput.value = +stepInput.value >= +stepInput.max ? 0 : +stepInput.value + 1; draw(); }, 300);
  });
  stepInput.addEventListener("input", draw);
  aheadInput.addEventListener("input", draw);
  player.hidden = false;
  aheadInput.max = aheadInput.value = Math.max(0, ...episode.decisions.map((decision) => decision.count - 1));
  draw();
}

document.querySelectorAll(".player").forEach(start);

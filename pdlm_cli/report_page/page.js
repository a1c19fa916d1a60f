"use strict";
// The gallery: cards from the page's data, regions and captions that light each other up, filters.
// Texts come from outside; they enter through textContent and attributes, never as markup.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);
  const { cards, inks } = JSON.parse($("data").textContent);
  const gallery = $("gallery");
  const percent = (share) => `${Math.round(100 * share)} %`;
  const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

  // --- build ---------------------------------------------------------------------------------------------------

  function said(region) {
    if (region.status === "ok") return region.caption || "(nothing written)";
    return `${region.status === "error" ? region.code : region.status}: ${region.message}`;
  }

  function meta(region) {
    const facts = [`region ${region.id}`];
    if (region.category) facts.push(region.category);
    if (region.confidence !== null) facts.push(`confidence ${percent(region.confidence)}`);
    if (region.cut) facts.push(`cut after ${region.tokens} tokens`);
    return facts.join(" · ");
  }

  function buildRegion(region, place, card) {
    const item = $("region-template").content.cloneNode(true).firstElementChild;
    const button = item.firstElementChild;
    const parts = button.getElementsByTagName("span");
    item.id = `r-${region.key}`;
    item.classList.toggle("bad", region.status === "error");
    button.dataset.region = place;
    button.style.setProperty("--own", inks[place % inks.length]);
    parts[0].textContent = place + 1;
    parts[2].textContent = said(region);
    parts[3].textContent = meta(region);
    region.item = item;
    region.button = button;
    region.shown = true;
    region.searched = `${said(region)}\n${card.path}\n${region.id}`.toLowerCase();
    return item;
  }

  function buildCard(card, index) {
    const element = $("card-template").content.cloneNode(true).firstElementChild;
    element.dataset.card = index;
    card.element = element;
    card.picture = element.querySelector(".picture");
    card.bubble = element.querySelector(".bubble");
    card.pinned = null;
    element.querySelector("h3").textContent = card.path;
    const note = element.querySelector(".note");
    note.textContent = card.note;
    note.hidden = !card.note;
    element.querySelector("ol").append(...card.regions.map((region, place) => buildRegion(region, place, card)));
    if (card.size) {
      const [width, height] = card.size;
      card.picture.style.aspectRatio = `${width} / ${height}`;
      element.style.setProperty("--shape", width / height);
    }
    card.picture.classList.toggle("empty", !card.src);
    return element;
  }

  // What costs memory and time to draw comes when the card comes near the window.
  function attach(card) {
    if (card.attached) return;
    card.attached = true;
    const [width, height] = card.size || [1, 1];
    const pins = card.picture.querySelector(".pins");
    pins.setAttribute("aria-label", `Regions of ${card.path}; arrow keys go from one to the next`);
    if (card.src) {
      const image = document.createElement("img");
      image.alt = `${card.path}, ${plural(card.regions.length, "region")}`;
      image.decoding = "async";
      image.src = card.src;
      pins.before(image);
    }
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-hidden", "true");
    pins.before(svg);
    // All of the picture but the lit region is darkened: a region keeps the colors that its caption speaks of.
    card.shade = document.createElementNS(SVG, "path");
    card.shade.setAttribute("class", "shade");
    svg.append(card.shade);
    card.regions.forEach((region, place) => {
      if (!region.path) return;
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", region.path);
      const pin = document.createElement("button");
      pin.type = "button";
      pin.className = "pin";
      pin.textContent = place + 1;
      pin.setAttribute("aria-label", `Region ${place + 1}: ${said(region)}`);
      pin.setAttribute("aria-pressed", "false");
      pin.style.left = `clamp(14px, ${(100 * region.pin[0]) / width}%, calc(100% - 14px))`;
      pin.style.top = `clamp(14px, ${(100 * region.pin[1]) / height}%, calc(100% - 14px))`;
      for (const mark of [path, pin]) {
        mark.dataset.region = place;
        mark.style.setProperty("--own", inks[place % inks.length]);
      }
      region.shape = path;
      region.mark = pin;
      svg.append(path);
      pins.append(pin);
    });
    update(card);
  }

  // --- one region lit ------------------------------------------------------------------------------------------

  // place: of the region, null for none. where: the element that asked, to tell pictures from captions.
  function light(card, place, where) {
    card.regions.forEach((region, other) => {
      for (const part of [region.button, region.shape, region.mark]) part?.classList.toggle("lit", other === place);
    });
    const region = place === null ? null : card.regions[place];
    card.picture.classList.toggle("dim", Boolean(region?.shape));
    if (region?.shape) card.shade.setAttribute("d", `M0 0h${card.size[0]}v${card.size[1]}H0z${region.path}`);
    const onPicture = Boolean(region && where && card.picture.contains(where));
    card.bubble.hidden = !onPicture;
    if (!onPicture) return;
    card.bubble.textContent = `${place + 1}  ${said(region)}`;
    card.bubble.classList.toggle("top-side", region.pin[1] > 0.55 * card.size[1]);
  }

  function pin(card, place, where) {
    card.pinned = place;
    card.pinnedAt = where;
    card.regions.forEach((region, other) => {
      for (const part of [region.button, region.mark]) part?.setAttribute("aria-pressed", other === place);
    });
    light(card, place, where);
  }

  function asked(event) {
    const mark = event.target.closest?.("[data-region]");
    if (!mark) return null;
    return { mark, card: cards[mark.closest(".card").dataset.card], place: Number(mark.dataset.region) };
  }

  function enter(event) {
    const found = asked(event);
    if (found) light(found.card, found.place, found.mark);
  }

  function leave(event) {
    const found = asked(event);
    if (found) light(found.card, found.card.pinned, found.card.pinnedAt);
  }

  gallery.addEventListener("pointerover", enter);
  gallery.addEventListener("pointerout", leave);
  gallery.addEventListener("focusin", (event) => {
    enter(event);
    const found = asked(event);
    if (found?.mark.classList.contains("pin")) rove(found.card, found.place);
  });
  gallery.addEventListener("focusout", leave);
  gallery.addEventListener("click", (event) => {
    const found = asked(event);
    if (found) pin(found.card, found.card.pinned === found.place ? null : found.place, found.mark);
  });

  // --- keys ----------------------------------------------------------------------------------------------------

  // One tab stop a picture: its pins are walked with the arrow keys, as in any toolbar.
  function rove(card, place) {
    for (const [other, region] of card.regions.entries()) {
      if (region.mark) region.mark.tabIndex = other === place ? 0 : -1;
    }
  }

  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

  gallery.addEventListener("keydown", (event) => {
    const found = asked(event);
    if (!found) return;
    if (event.key === "Escape") {
      pin(found.card, null, null);
      return;
    }
    const onPicture = found.mark.classList.contains("pin");
    const stops = found.card.regions
      .filter((region) => region.shown && (onPicture ? region.mark : true))
      .map((region) => (onPicture ? region.mark : region.button));
    let next = stops.indexOf(found.mark);
    if (event.key in STEPS) next = (next + STEPS[event.key] + stops.length) % stops.length;
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = stops.length - 1;
    else return;
    event.preventDefault();
    stops[next].focus();
  });

  // --- filters -------------------------------------------------------------------------------------------------

  function fill(select, values) {
    for (const value of [...new Set(values)].filter(Boolean).sort()) {
      const option = document.createElement("option");
      option.value = option.textContent = value;
      select.append(option);
    }
  }

  function update(card) {
    for (const region of card.regions) {
      for (const part of [region.item, region.mark]) if (part) part.hidden = !region.shown;
      region.shape?.setAttribute("display", region.shown ? "inline" : "none");
    }
    rove(card, card.regions.findIndex((region) => region.shown && region.mark));
    card.element.hidden = !card.regions.some((region) => region.shown);
  }

  function filter() {
    const words = $("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const category = $("category").value;
    const status = $("status").value;
    const low = Number($("low").value) / 100;
    const high = ($("high").value === "" ? 100 : Number($("high").value)) / 100;
    const anyConfidence = low <= 0 && high >= 1;
    let regions = 0;
    let pictures = 0;
    let all = 0;
    for (const card of cards) {
      let changed = false;
      let found = 0;
      for (const region of card.regions) {
        const sure = region.confidence;
        const shown =
          words.every((word) => region.searched.includes(word)) &&
          (!category || region.category === category) &&
          (!status || region.status === status) &&
          (anyConfidence || (sure !== null && low <= sure && sure <= high));
        changed ||= shown !== region.shown;
        region.shown = shown;
        found += shown;
      }
      if (changed) update(card);
      all += card.regions.length;
      regions += found;
      pictures += found > 0;
    }
    const some = regions < all ? `${regions.toLocaleString("en")} of ${plural(all, "region")}` : plural(all, "region");
    $("count").textContent = `${some} in ${plural(pictures, "picture")}`;
    $("nothing").hidden = regions > 0;
  }

  // --- start ---------------------------------------------------------------------------------------------------

  fill($("category"), cards.flatMap((card) => card.regions.map((region) => region.category)));
  fill($("status"), cards.flatMap((card) => card.regions.map((region) => region.status)));
  gallery.append(...cards.map(buildCard));
  filter();

  const form = $("filters");
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter)); // the fields are empty only after this event
  form.addEventListener("submit", (event) => event.preventDefault());

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        attach(cards[entry.target.dataset.card]);
        near.unobserve(entry.target);
      }
    },
    { rootMargin: "1200px 0px" },
  );
  for (const card of cards) near.observe(card.element);
})();

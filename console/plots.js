// Plots of usage: stacked columns by day, and bars by group. Their figures stand in a table beside.
import { html } from './ui.js';
import { useWidth } from './parts.js';

const COLOURS = 8;
const HEIGHT = 220;
const BOTTOM = 24;
const TOP = 10;
const LEFT = 64;

export const colour = (index) => `c${index < COLOURS - 1 ? index + 1 : COLOURS}`;

// `days`: [{ day, values: { name: number } }]; `names` in the order of their colours.
export function Columns({ days, names, label, format }) {
  const [element, width] = useWidth(720);
  const totals = days.map(({ values }) => names.reduce((sum, name) => sum + (values[name] ?? 0), 0));
  const top = roundUp(Math.max(...totals, 0) || 1);
  const slot = (width - LEFT - 8) / Math.max(days.length, 1);
  const thick = Math.min(48, Math.max(2, slot * 0.72));
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const every = Math.ceil(days.length / Math.max(1, Math.floor((width - LEFT) / 56)));
  return html`<div ref=${element} class="drawing">
    <svg width=${width} height=${HEIGHT} role="img" aria-label=${label}>
      ${[0, 0.5, 1].map(
        (share) => html`<g class="tick" key=${share}>
        <line x1=${LEFT} x2=${width} y1=${y(top * share)} y2=${y(top * share)} />
        <text x=${LEFT - 8} y=${y(top * share) + 4} text-anchor="end">${format(top * share)}</text></g>`,
      )}
      ${days.map(({ day, values }, index) => {
        const x = LEFT + slot * (index + 0.5) - thick / 2;
        let below = 0;
        return html`<g key=${day}>
          <title>${day}: ${format(totals[index])}</title>
          ${names.map((name, at) => {
            const value = values[name] ?? 0;
            const rect = html`<rect key=${name} class=${colour(at)} x=${x} width=${thick}
              y=${y(below + value)} height=${Math.max(0, y(below) - y(below + value))} />`;
            below += value;
            return value > 0 && rect;
          })}
          ${
            index % every === 0 &&
            html`<text class="axis" x=${x + thick / 2} y=${HEIGHT - 8}
            text-anchor="middle">${dayOf(day)}</text>`
          }
        </g>`;
      })}
    </svg></div>
    <ul class="legend">${names.map(
      (name, at) => html`<li key=${name}>
      <i class=${colour(at)}></i>${name}</li>`,
    )}</ul>`;
}

const SHORT_DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const dayOf = (day) => SHORT_DAY.format(new Date(`${day}T00:00:00Z`));

// A round number at or above the value.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return (
    [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10]
      .map((each) => each * power)
      .find((each) => each >= value * 0.9999) ?? value
  );
}

// A line of the last values, drawn small.
export function Spark({ values, label, most, wide = 120, high = 28 }) {
  const top = Math.max(most ?? 0, ...values, 1);
  const step = wide / Math.max(1, values.length - 1);
  const points = values.map(
    (value, index) => `${(index * step).toFixed(1)},${(high - 2 - (high - 4) * (value / top)).toFixed(1)}`,
  );
  return html`<svg class="spark" viewBox=${`0 0 ${wide} ${high}`} preserveAspectRatio="none"
    width=${wide} height=${high} role="img" aria-label=${label}>
    ${
      points.length > 1 &&
      html`<polygon points=${`0,${high} ${points.join(' ')} ${wide},${high}`} />
      <polyline points=${points.join(' ')} data-values=${points.length} />`
    }</svg>`;
}

// A model and its deployments as water and gates: how wide a stream is shows its share of the calls.
import { html } from './ui.js';
import { many, percent, short, words } from './format.js';
import { tone, useWidth } from './parts.js';

const ROW = 60;
const NODE = 108;
const NARROW = 560;
const CELLS = 24;
const WIDEST = 22;
const LETTER = 7.6;

// Of each deployment, the share of calls that its weight gives it; later priorities get what is left.
export function shares(deployments) {
  const able = deployments.filter((each) => each.weight > 0);
  const first = Math.min(...able.map((each) => each.priority));
  const total = able.reduce((sum, each) => sum + (each.priority === first ? each.weight : 0), 0);
  return Object.fromEntries(
    deployments.map((each) => [
      each.name,
      each.weight > 0 && each.priority === first ? each.weight / total : 0,
    ]),
  );
}

// A worker without calls gives its share of a limit back: that is no deployment at its limit.
export const stateOf = ({ state, limit }) => (state === 'full' && limit === 0 ? 'resting' : state);

export function Picture({ model, deployments }) {
  const [element, width] = useWidth(800);
  const share = shares(deployments);
  const waiting = Math.max(...deployments.map((each) => each.waiting));
  const height = Math.max(deployments.length * ROW, waiting > 0 ? 2 * 44 : 0);
  const top = (height - deployments.length * ROW) / 2;
  const node = width < NARROW ? 84 : NODE;
  const right = width < NARROW ? node + 46 : node + Math.min(220, width * 0.22);
  return html`<div ref=${element} class="drawing picture">
    <svg width=${width} height=${height} role="img" aria-label=${told(model, deployments, share)}>
      <defs>${deployments.map(
        (each, index) => html`<path key=${each.name} id=${`s-${model}-${index}`}
        d=${curve(node, height / 2, right, top + ROW * (index + 0.5))} />`,
      )}</defs>
      ${deployments.map(
        (each, index) => html`<${Stream} key=${each.name} model=${model} index=${index}
        share=${share[each.name]} deployment=${each} />`,
      )}
      <rect class="node" x="1" y=${height / 2 - 22} width=${node - 2} height="44" rx="10" />
      <text class="name" x=${node / 2} y=${height / 2 + 5} text-anchor="middle">${fit(model, node)}</text>
      ${
        waiting > 0 &&
        html`<text class="said" x=${node / 2} y=${height / 2 + 38} text-anchor="middle">${short(
          waiting,
        )} wait</text>`
      }
      ${deployments.map(
        (each, index) => html`<${Gate} key=${each.name} deployment=${each}
        share=${share[each.name]} x=${right} y=${top + ROW * index} width=${width - right} />`,
      )}
    </svg>
  </div>`;
}

const curve = (x1, y1, x2, y2) => `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
const fit = (text, width) =>
  text.length * LETTER > width - 8 ? `${text.slice(0, Math.floor(width / LETTER) - 2)}…` : text;

function Stream({ model, index, share, deployment }) {
  const kind = share > 0 ? tone(stateOf(deployment)) : 'calm';
  const thick = share > 0 ? 3 + (WIDEST - 3) * share : 1.5;
  const path = `#s-${model}-${index}`;
  return html`<g class=${`stream ${kind} ${share > 0 ? '' : 'dry'}`}>
    <use href=${path} stroke-width=${thick} />
    ${deployment.in_flight > 0 && html`<use href=${path} class="moving" stroke-width="2.5" />`}
  </g>`;
}

function Gate({ deployment, share, x, y, width }) {
  const { name, in_flight: flying, limit } = deployment;
  const state = stateOf(deployment);
  const narrow = width < 300;
  const middle = y + ROW / 2;
  const gauge = { x: x + 14, y: middle + 5, width: Math.max(60, width - (narrow ? 20 : 130)) };
  return html`<g class=${`gate ${tone(state)}`}>
    <rect class="post" x=${x} y=${middle - 20} width="5" height="40" rx="2.5" />
    <text class="name" x=${x + 14} y=${middle - 7}>${name}</text>
    <text class="said" x=${x + width - 2} y=${middle - 7} text-anchor="end">${
      share > 0 && !narrow ? `${percent(share)} · ` : ''
    }${words(state)}</text>
    <${Gauge} ...${gauge} used=${flying} limit=${limit} />
    ${
      !narrow &&
      html`<text class="said" x=${x + width - 2} y=${middle + 16} text-anchor="end">
      ${limit > 0 ? `${flying} of ${limit} in flight` : 'no share of its limit now'}</text>`
    }
  </g>`;
}

// A cell for each call that fits at once, as long as cells can be told apart.
function Gauge({ x, y, width, used, limit }) {
  if (limit > CELLS) {
    const share = Math.min(1, used / limit);
    return html`<rect class="cell" x=${x} y=${y} width=${width} height="12" rx="3" />
      <rect class="cell used" x=${x} y=${y} width=${width * share} height="12" rx="3" />`;
  }
  const step = Math.min(22, width / Math.max(1, limit));
  return html`${Array.from(
    { length: limit },
    (_, index) => html`<rect key=${index}
    class=${index < used ? 'cell used' : 'cell'} x=${x + step * index} y=${y} width=${Math.max(2, step - 3)}
    height="12" rx="3" />`,
  )}`;
}

function told(model, deployments, share) {
  const each = deployments.map(
    (one) =>
      `${one.name} is ${words(stateOf(one))}, ${percent(share[one.name])}` +
      ` of the calls, ${one.in_flight} of ${one.limit} in flight`,
  );
  const waiting = Math.max(...deployments.map((one) => one.waiting));
  return (
    `Model ${model} with ${many(deployments.length, 'deployment')}: ${each.join('; ')}.` +
    (waiting > 0 ? ` ${many(waiting, 'call')} wait.` : '')
  );
}

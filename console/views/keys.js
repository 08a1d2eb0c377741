// API keys: who has which, a new one, a new one in place of an old one, and the end of one.
import { html, useState } from '../ui.js';
import { call, withQuery } from '../api.js';
import { confirm } from '../dialog.js';
import { usePoll } from '../poll.js';
import { announce, Copy, Empty, Loaded, Pill, Table, Time, Title, Trouble, useDeed } from '../parts.js';

const ROLES = {
  submit: 'send requests',
  read: 'read what is the tenant’s',
  operate: 'run the service',
  bill: 'read every tenant’s usage',
};
const DAY_MS = 86_400_000;

export function Keys() {
  const [issued, setIssued] = useState(null);
  const keys = usePoll((signal) => call(withQuery('/v1/keys', { limit: 1000 }), { signal }), []);
  return html`<${Title} lead="Only digests of keys are kept: a key is shown once, when it is issued.">
      API keys</${Title}>
    ${issued && html`<${Issued} issued=${issued} done=${() => setIssued(null)} />`}
    <${Loaded} of=${keys}>${({ data }) => html`
      <${Issue} done=${(key) => {
        setIssued(key);
        keys.refresh();
      }} tenants=${[...new Set(data.map((key) => key.tenant))]} />
      ${
        data.length === 0
          ? html`<${Empty} title="No key yet">With tenants (<code>tenants.yaml</code>) callers have keys of
            their own; without, the platform’s function key opens every door.</${Empty}>`
          : html`<${List} keys=${data} again=${keys.refresh} issued=${setIssued} />`
      }`}</${Loaded}>`;
}

function Issued({ issued, done }) {
  return html`<div class="notice good" role="status"><strong>Key of ${issued.tenant}: copy it now</strong>
    <p class="id"><code class="secret">${issued.key}</code> <${Copy} text=${issued.key} /></p>
    <p>It is shown this once, and kept nowhere. <button type="button" class="small"
      onClick=${done}>I have it</button></p></div>`;
}

function Issue({ done, tenants }) {
  const [tenant, setTenant] = useState('');
  const [roles, setRoles] = useState(['submit', 'read']);
  const [days, setDays] = useState('');
  const [note, setNote] = useState('');
  const [go, busy, problem] = useDeed(async () => {
    const expires =
      days === '' ? {} : { expires_at: new Date(Date.now() + Number(days) * DAY_MS).toISOString() };
    const body = { tenant, roles, ...expires, ...(note ? { note } : {}) };
    done(await call('/v1/keys', { method: 'POST', body }));
    announce('The key was issued');
    setNote('');
  });
  const toggle = (role) =>
    setRoles(roles.includes(role) ? roles.filter((each) => each !== role) : [...roles, role]);
  return html`<form class="card" onSubmit=${(event) => {
    event.preventDefault();
    go();
  }}>
    <h2>New key</h2>
    <${Trouble} problem=${problem} />
    <div class="columns">
      <div class="field"><label for="k-tenant">Tenant <span class="needed">required</span></label>
        <input id="k-tenant" list="k-tenants" required value=${tenant} autocomplete="off"
          onInput=${(event) => setTenant(event.target.value)} />
        <datalist id="k-tenants">${tenants.map((each) => html`<option value=${each} />`)}</datalist></div>
      <div class="field"><label for="k-days">Ends after so many days</label>
        <input id="k-days" type="number" min="1" max="3650" placeholder="never" value=${days}
          onInput=${(event) => setDays(event.target.value)} /></div>
      <div class="field"><label for="k-note">What it is for</label>
        <input id="k-note" maxlength="256" value=${note} onInput=${(event) => setNote(event.target.value)} /></div>
    </div>
    <fieldset class="roles"><legend>It may</legend>${Object.entries(ROLES).map(
      ([role, does]) => html`
      <label key=${role}><input type="checkbox" checked=${roles.includes(role)} onChange=${() => toggle(role)} />
        <span>${role} <small>${does}</small></span></label>`,
    )}</fieldset>
    <div class="buttons"><button class="main" disabled=${busy || !roles.length}>Issue key</button></div>
  </form>`;
}

function List({ keys, again, issued }) {
  const head = [
    'Key',
    'State',
    'Tenant',
    'Roles',
    ['Issued', 'wide'],
    ['Ends', 'wide'],
    'For',
    html`<span class="unseen">To do</span>`,
  ];
  const newest = [...keys].sort((a, b) => b.created_at.localeCompare(a.created_at));
  const [deed, busy, problem] = useDeed(async (what) => {
    await what();
    await again();
  });
  async function revoke(key) {
    const yes = await confirm({
      title: `Revoke key ${key.id}?`,
      danger: true,
      action: 'Revoke',
      text: `It belongs to ${key.tenant}${key.note ? ` (${key.note})` : ''}. No worker takes it after half a
        minute, and there is no way back.`,
    });
    if (yes) await call(`/v1/keys/${key.id}`, { method: 'DELETE' });
  }
  async function rotate(key) {
    const yes = await confirm({
      title: `Issue a key in place of ${key.id}?`,
      action: 'Rotate',
      text: 'The new one has the same rights. The old one goes on for a day.',
    });
    if (yes) issued(await call(`/v1/keys/${key.id}/rotate`, { method: 'POST', body: {} }));
  }
  return html`<${Trouble} problem=${problem} />
    <${Table} label="API keys" head=${head}>${newest.map(
      (key) => html`<tr key=${key.id}>
      <td><code>${key.id}</code></td>
      <td><${Pill} state=${key.status} /></td>
      <td>${key.tenant}</td>
      <td>${key.roles.join(', ')}</td>
      <td class="wide"><${Time} at=${key.created_at} /><br /><small>${key.created_by}</small></td>
      <td class="wide"><${Time} at=${key.revoked_at ?? key.expires_at} /></td>
      <td>${key.note ?? ''}</td>
      <td class="buttons">${
        key.status === 'active' &&
        html`
        <button type="button" class="small" disabled=${busy} aria-label=${`Rotate ${key.id}`}
          onClick=${() => deed(() => rotate(key))}>Rotate</button>`
      }
        ${
          ['active', 'retiring'].includes(key.status) &&
          html`
        <button type="button" class="small danger" disabled=${busy} aria-label=${`Revoke ${key.id}`}
          onClick=${() => deed(() => revoke(key))}>Revoke</button>`
        }</td>
    </tr>`,
    )}</${Table}>`;
}

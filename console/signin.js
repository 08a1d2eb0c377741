// Asks for a key, and tries it before it is kept.
import { html, useState } from './ui.js';
import { call, identity, signIn } from './api.js';
import { Trouble, useDeed } from './parts.js';

export function SignIn({ why, done }) {
  const [key, setKey] = useState('');
  const [go, busy, problem] = useDeed(async () => {
    const text = key.trim();
    try {
      await call('/v1/flows', { headers: identity(text) });
    } catch (refused) {
      // 403: it is known, and may do something else than this; 503: it was let in, and told why.
      if (![403, 503].includes(refused.status)) throw refused;
    }
    signIn(text);
    done();
  });
  return html`<main class="signin">
    <form class="card" onSubmit=${(event) => {
      event.preventDefault();
      go();
    }}>
      <img src="/console/icon.svg" alt="" width="48" height="48" />
      <h1>Sluice</h1>
      <p>What the service does now, from its own API.</p>
      ${why && !problem && html`<p class="trouble" role="alert">${why}</p>`}
      <${Trouble} problem=${problem} />
      <label for="key">API key, or function key</label>
      <input id="key" name="key" type="password" required autocomplete="off" spellcheck="false"
        autofocus aria-describedby="key-help" value=${key}
        onInput=${(event) => setKey(event.target.value)} />
      <p class="help" id="key-help">It stays in this browser tab until you sign out or close it. With
        <code>./dev start</code> it is the <code>api_key</code> in <code>.local/stack.json</code>.</p>
      <button class="main" disabled=${busy}>${busy ? 'Trying it …' : 'Sign in'}</button>
    </form>
  </main>`;
}

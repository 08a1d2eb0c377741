// One question at a time, in a modal dialog: `confirm` answers whether it was said yes to.
import { html, useEffect, useRef, useState } from './ui.js';

let show = () => {};

// { title, text, action, danger, typed }: with `typed`, that text has to be written first.
export function confirm(question) {
  return new Promise((answer) => show({ ...question, answer }));
}

export function Dialog() {
  const [asked, setAsked] = useState(null);
  const [written, setWritten] = useState('');
  const element = useRef(null);
  show = (question) => {
    setWritten('');
    setAsked(question);
  };
  useEffect(() => {
    if (asked) element.current.showModal();
  }, [asked]);

  function close(yes) {
    element.current.close();
    asked.answer(yes);
    setAsked(null);
  }

  if (!asked) return null;
  const ready = !asked.typed || written === asked.typed;
  return html`<dialog ref=${element} aria-labelledby="dialog-title" aria-describedby="dialog-text"
      onCancel=${(event) => {
        event.preventDefault();
        close(false);
      }}>
    <form onSubmit=${(event) => {
      event.preventDefault();
      if (ready) close(true);
    }}>
      <h2 id="dialog-title">${asked.title}</h2>
      <div id="dialog-text">${asked.text}</div>
      ${
        asked.typed &&
        html`<label>To go on, write <b>${asked.typed}</b>
        <input name="typed" autocomplete="off" value=${written}
          onInput=${(event) => setWritten(event.target.value)} /></label>`
      }
      <div class="buttons end">
        <button type="button" class="quiet" onClick=${() => close(false)}>Back</button>
        <button class=${asked.danger ? 'danger' : 'main'} disabled=${!ready}>${asked.action}</button>
      </div>
    </form>
  </dialog>`;
}

/** The little that both parts of the page need of the document. */

export function element(id) {
  return document.getElementById(id)
}

/** A line with a text at each end. */
export function line(...texts) {
  const made = document.createElement('div')
  for (const text of texts) made.appendChild(document.createElement('span')).textContent = text
  return made
}

/** What an action came to. */
export function say(id, text, isBad = false) {
  const answer = element(id)
  answer.textContent = text
  answer.dataset.bad = String(isBad)
}

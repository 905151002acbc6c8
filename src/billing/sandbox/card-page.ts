import { cardOf, SANDBOX_CARDS, type SandboxCard, type SandboxCardPage } from './card.ts'
import { SANDBOX_CARDS_PATH } from './gateway.ts'
import { badge, choice, page, wayBack, wayOut } from './layout.ts'

const EFFECTS: Readonly<Record<SandboxCard, string>> = {
  good: 'Pays whatever it is charged.',
  declined: 'Is declined whenever it is charged, as a card without cover.',
}

/** The page on which a pretended customer saves a card without paying. */
export function cardPage({ id, successUrl, cancelUrl, methodId }: SandboxCardPage): string {
  const saved = cardOf(methodId)
  if (saved) {
    return page(
      'A card is saved',
      `${badge('good', 'Saved')}
      <h1>${saved.card} is saved</h1>
      <p>Automatic top-ups can charge it now. A page saves one card; another one is saved on a new page.</p>
      ${wayBack(successUrl)}`,
    )
  }
  const path = `${SANDBOX_CARDS_PATH}/${encodeURIComponent(id)}`
  const choices = Object.entries(SANDBOX_CARDS).map(([name, { card }], index) =>
    choice(path, name, `Save the card ${card}`, EFFECTS[name as SandboxCard], index === 0),
  )
  return page(
    'Save a card',
    `${badge('open', 'No card saved yet')}
      <h1>Save a card for later</h1>
      <p>Nothing is charged now. Automatic top-ups charge the card while nobody is there.</p>
      ${choices.join('\n      ')}
      ${wayOut(cancelUrl, 'Leave without saving a card')}`,
  )
}

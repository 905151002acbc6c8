/** What the pages of the sandbox have in common. They work without a script. */

/** @param title text; @param main HTML */
export function page(title: string, main: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>${escaped(title)} (sandbox)</title>
    <link rel="icon" href="/sandbox/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/sandbox/page.css">
  </head>
  <body>
    <p class="banner"><strong>Sandbox</strong> No card, no bank, no money: this page plays a payment provider for development.</p>
    <main>
      ${main}
    </main>
  </body>
</html>
`
}

/** A button with what it brings about below it. @param path where its form is sent; all but `effect` is text */
export function choice(path: string, name: string, label: string, effect: string, isFirst = false): string {
  const first = isFirst ? ' class="first"' : ''
  return `<form method="post" action="${escaped(path)}/${name}"><button${first} aria-describedby="${name}-effect">${escaped(label)}</button><p id="${name}-effect">${effect}</p></form>`
}

export function badge(kind: string, text: string): string {
  return `<p class="state" data-state="${kind}">${escaped(text)}</p>`
}

/** The way to the product for somebody who is done here. */
export function wayBack(url: string): string {
  return `<a class="button first" href="${escaped(url)}">Back to the product</a>`
}

/** And for somebody who is not. */
export function wayOut(url: string, text: string): string {
  return `<p class="way"><a href="${escaped(url)}">${text}</a></p>`
}

/** Nothing but its own files; its forms lead to the sandbox, which may send on to the product. */
export function pageHeaders(product: string | null) {
  const forms = product === null ? "'none'" : URL.canParse(product) ? `'self' ${new URL(product).origin}` : "'self'"
  const own = "default-src 'none'; style-src 'self'; img-src 'self'"
  return {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `${own}; form-action ${forms}; base-uri 'none'; frame-ancestors 'none'`,
    'referrer-policy': 'same-origin',
  }
}

/** Everything on a page that came from somewhere else goes through this. */
export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;')
}

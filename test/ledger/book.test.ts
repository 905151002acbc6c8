import t from 'tap'
import { Book, Draft } from '../../src/ledger/book.ts'
import type { Wallet } from '../../src/ledger/wallet.ts'
import { CLIENT, START } from '../helpers/decide.ts'
import { newWallet } from '../properties/memory-store.ts'

const ID = '00000001-0000-7000-8000-000000000000'
const SPEAKER = { clientId: null, everyClient: true, actor: 'test', requestId: 'test' }

/** The wallets that a batch tells of, each command setting some of the wallet's fields. */
function told(loaded: Partial<Wallet>, ...commands: Partial<Wallet>[]): string[] {
  const book = new Book()
  book.loadWallet({ ...newWallet(ID, CLIENT, 'user', 'alice', START), topUpThreshold: 100n, ...loaded })
  for (const change of commands) {
    const draft = new Draft(book, { id: ID, speaker: SPEAKER }, START)
    draft.putWallet({ ...draft.wallet(ID), ...change })
    book.apply(draft, 'test', ID, ID)
  }
  return book.events().map(({ walletId }) => walletId)
}

t.test('a wallet that falls below where it is topped up is told of, once a batch', async (t) => {
  t.same(told({ balance: 100n }, { balance: 99n }), [ID])
  t.same(told({ balance: 100n }, { held: 1n }), [ID], 'a hold counts')
  t.same(told({ balance: 100n }, { balance: 99n }, { balance: 98n }), [ID])
  t.same(told({ balance: 100n }, { balance: 100n }), [], 'at the threshold is not below')
  t.same(told({ balance: 99n }, { balance: 98n }), [], 'it was below before')
  t.same(told({ balance: 100n, topUpThreshold: null }, { balance: 1n }), [], 'nothing is armed')
})

t.test('a crossing within a batch counts, whatever was so before the batch', async (t) => {
  t.same(told({ balance: 50n }, { balance: 550n }, { held: 500n }), [ID], 'below, paid above, held below again')
  t.same(told({ balance: 100n }, { balance: 99n }, { balance: 150n }, { balance: 20n }, { balance: 170n }, { balance: 3n }), [ID])
})

t.test('a wallet that is above again at the end, or armed no more, needs nothing', async (t) => {
  t.same(told({ balance: 100n }, { balance: 10n }, { balance: 100n }), [])
  t.same(told({ balance: 100n }, { balance: 10n }, { topUpThreshold: null }), [])
})

t.test('a wallet that is unfrozen below is told of', async (t) => {
  t.same(told({ balance: 50n, status: 'frozen' }, { status: 'active' }), [ID])
  t.same(told({ balance: 50n }, { status: 'frozen' }, { status: 'active' }), [ID])
  t.same(told({ balance: 50n, status: 'frozen' }, { label: 'x' }), [])
})

import type { Prisma, PrismaClient } from '../../generated/prisma/client.ts'
import { fail } from '../../kernel/errors.ts'
import type { SandboxCardPage } from './card.ts'
import type { SandboxPayment } from './payment.ts'

const PAGE = 500

export interface SandboxStore {
  /** Keeps the first that is told under its id. @returns the one that is kept */
  open(payment: SandboxPayment): Promise<SandboxPayment>
  find(id: string): Promise<SandboxPayment | null>
  /** One change at a time. @throws FareboxError `payment_not_found`, and whatever `change` throws */
  change(id: string, change: (before: SandboxPayment) => SandboxPayment): Promise<SandboxPayment>
  changedBetween(from: Date, to: Date): AsyncIterable<string>

  openCardPage(page: SandboxCardPage): Promise<void>
  findCardPage(id: string): Promise<SandboxCardPage | null>
  /** Keeps the first card that is saved on a page. @throws FareboxError `payment_not_found` */
  saveCard(pageId: string, methodId: string): Promise<SandboxCardPage>
  /** The cards that a customer saved, each once, newest first. */
  savedCards(customerId: string): Promise<string[]>
}

/** The sandbox's books, apart from ours. */
export function sandboxStore(prisma: PrismaClient): SandboxStore {
  const find = async (id: string) => {
    const row = await prisma.sandboxPayment.findUnique({ where: { id } })
    return row && (row.state as unknown as SandboxPayment)
  }
  const findCardPage = (id: string) => prisma.sandboxCardPage.findUnique({ where: { id } })
  return {
    async open(payment) {
      const data = { id: payment.id, state: toJson(payment), updatedAt: new Date() }
      await prisma.sandboxPayment.createMany({ data: [data], skipDuplicates: true })
      return (await find(payment.id)) ?? payment
    },
    find,
    change: (id, change) =>
      prisma.$transaction(async (tx) => {
        const [row] = await tx.$queryRaw<{ state: SandboxPayment }[]>`select state from sandbox_payments where id = ${id} for update`
        if (!row) throw fail('payment_not_found', 'The sandbox knows no such payment.')
        const after = change(row.state)
        await tx.sandboxPayment.update({ where: { id }, data: { state: toJson(after), updatedAt: new Date() } })
        return after
      }),
    async *changedBetween(from, to) {
      for (let after = ''; ; ) {
        const rows = await prisma.sandboxPayment.findMany({
          where: { updatedAt: { gte: from, lte: to }, id: { gt: after } },
          select: { id: true },
          orderBy: { id: 'asc' },
          take: PAGE,
        })
        for (const { id } of rows) yield id
        const last = rows.at(-1)
        if (!last || rows.length < PAGE) return
        after = last.id
      }
    },

    async openCardPage(page) {
      await prisma.sandboxCardPage.create({ data: page })
    },
    findCardPage,
    async saveCard(pageId, methodId) {
      await prisma.sandboxCardPage.updateMany({ where: { id: pageId, methodId: null }, data: { methodId, savedAt: new Date() } })
      const page = await findCardPage(pageId)
      if (!page) throw fail('payment_not_found', 'The sandbox knows no such page.')
      return page
    },
    async savedCards(customerId) {
      const rows = await prisma.sandboxCardPage.groupBy({
        by: ['methodId'],
        where: { customerId, methodId: { not: null } },
        _max: { savedAt: true },
        // Of those that were saved in the same millisecond, the one whose page was opened later.
        orderBy: [{ _max: { savedAt: 'desc' } }, { _max: { id: 'desc' } }],
      })
      return rows.flatMap(({ methodId }) => methodId ?? [])
    },
  }
}

function toJson(payment: SandboxPayment): Prisma.InputJsonValue {
  return payment as unknown as Prisma.InputJsonObject
}

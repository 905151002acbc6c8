import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import { patiently } from './socket.ts'

/** The socket's protocol by hand, to break it. */

/** A connection after its upgrade, for bytes that no library would send. */
export async function rawSocket(t: Test, port: number, key: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const lines = ['GET /v1/realtime HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
  const nonce = `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`
  socket.write(`${[...lines, nonce, `Authorization: Bearer ${key}`].join('\r\n')}\r\n\r\n`)
  const [head] = (await once(socket, 'data')) as [Buffer]
  if (!head.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(head.toString('latin1'))
  return socket
}

/** A frame of a client, masked with zeros. */
export function frame(opcode: number, payload: string | Buffer, fin = true): Buffer {
  const bytes = Buffer.from(payload as string)
  const length = bytes.length < 126 ? Buffer.from([0x80 | bytes.length]) : Buffer.from([0x80 | 126, bytes.length >> 8, bytes.length & 0xff])
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode]), length, Buffer.alloc(4), bytes])
}

/** Reads frames up to the close frame, and its code. */
export async function closeCode(socket: Socket): Promise<number | null> {
  let bytes = Buffer.alloc(0)
  const code = new Promise<number | null>((resolve) => {
    socket.on('close', () => resolve(null))
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      while (bytes.length >= 2) {
        const short = (bytes[1] as number) & 0x7f
        const [head, length] = short < 126 ? [2, short] : short === 126 ? [4, bytes.length >= 4 ? bytes.readUInt16BE(2) : 0] : [10, 0]
        if (bytes.length < head + length) return
        if (((bytes[0] as number) & 0x0f) === 0x08) return resolve(bytes.readUInt16BE(head))
        bytes = bytes.subarray(head + length)
      }
    })
  })
  return patiently('the close frame', code)
}

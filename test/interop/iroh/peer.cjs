// One client of an iroh relay. It reads orders from its standard input, a JSON
// object each line, and answers each with one on its standard output.
//
//	node peer.cjs ADDON old|new SEED URL [TOKEN]
//	{"do":"add","peer":HEX}             says where a peer is; old ones need it
//	{"do":"echo","peer":HEX,"bytes":N}  sends N octets there and has them sent back
//
// It sends back itself whatever comes. SEED is an octet: the secret key is 32
// of it. URL is the relay's.
'use strict'
const crypto = require('node:crypto')
const readline = require('node:readline')

const [addon, generation, seed, url, token] = process.argv.slice(2)
const iroh = require(addon)
const ALPN = [...Buffer.from('barid/echo/0')]
const say = (o) => process.stdout.write(JSON.stringify(o) + '\n')
const unhex = (s) => [...Buffer.from(s, 'hex')]
const pause = (ms) => new Promise((done) => setTimeout(done, ms))
const limit = 64 << 20

// publicKey derives the public key of a seed (RFC 8410 has the prefix).
function publicKey (seed) {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)])
  const key = crypto.createPublicKey(crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
  return key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex')
}

async function oldPeer () {
  const serve = async (conn) => {
    for (;;) {
      const s = await conn.acceptBi()
      const got = await s.recv.readToEnd(limit)
      await s.send.writeAll(got)
      await s.send.finish()
    }
  }
  const protocols = {
    [Buffer.from(ALPN)]: (err, ep) => ({
      accept: async (err, conn) => { try { await serve(conn) } catch {} },
      shutdown () {}
    })
  }
  const node = await iroh.Iroh.memory({ nodeDiscovery: 'None', secretKey: Array(32).fill(Number(seed)), protocols })
  const ep = node.node.endpoint()
  const where = (peer) => ({ nodeId: peer, relayUrl: url, addresses: [] })
  return {
    async add ({ peer }) {
      await node.net.addNodeAddr(where(peer))
      // It has no home at this relay, so it must be the one who calls, or it is
      // never there.
      ;(async () => {
        for (;;) {
          try { await ep.connect(where(peer), Buffer.from('nothing')) } catch {}
          await pause(300)
        }
      })()
      return {}
    },
    async echo ({ peer, bytes }) {
      const conn = await ep.connect(where(peer), Buffer.from(ALPN))
      const got = await there(await conn.openBi(), crypto.randomBytes(bytes))
      const info = (await node.net.remoteInfoList()).find((i) => Buffer.from(i.nodeId).toString('hex') === peer)
      return { ...got, relayed: ['Relay', 'Mixed'].includes(info?.connType.type), path: info?.connType.type }
    }
  }
}

async function newPeer () {
  const b = iroh.Endpoint.builder()
  iroh.presetMinimal(b)
  b.secretKey(Array(32).fill(Number(seed)))
  b.alpns([ALPN])
  const map = iroh.RelayMap.empty()
  map.insert(token ? { url, authToken: token } : { url })
  b.relayMode(iroh.RelayMode.custom(map))
  const ep = await b.bind()
  await ep.online()
  ;(async () => {
    for (;;) {
      const incoming = await ep.acceptNext()
      if (!incoming) return
      ;(async () => {
        try {
          const conn = await (await incoming.accept()).connect()
          for (;;) {
            const s = await conn.acceptBi()
            const got = await s.recv.readToEnd(limit)
            await s.send.writeAll(got)
            await s.send.finish()
          }
        } catch {}
      })()
    }
  })()
  return {
    async add () { return {} },
    async echo ({ peer, bytes }) {
      const to = new iroh.EndpointAddr(iroh.EndpointId.fromBytes(unhex(peer)), url, [])
      const conn = await ep.connect(to, ALPN)
      const got = await there(await conn.openBi(), [...crypto.randomBytes(bytes)])
      const paths = conn.paths()
      return { ...got, relayed: paths.every((p) => p.isRelay), path: JSON.stringify(paths) }
    }
  }
}

// there and back again; the octets in the form that this addon wants.
async function there (s, sent) {
  const began = Date.now()
  const back = s.recv.readToEnd(limit)
  await s.send.writeAll(sent)
  await s.send.finish()
  return { same: Buffer.from(await back).equals(Buffer.from(sent)), ms: Date.now() - began }
}

async function main () {
  const peer = await (generation === 'old' ? oldPeer() : newPeer())
  say({ ready: publicKey(Number(seed)) })
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line)
    try {
      say({ ok: true, ...await peer[order.do](order) })
    } catch (err) {
      say({ ok: false, error: String(err) })
    }
  }
  process.exit(0)
}

main().catch((err) => { say({ ok: false, error: String(err) }); process.exit(1) })

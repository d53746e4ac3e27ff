// An origin for specs that speaks HTTP/2 through node: in clear text, or over TLS.
//
//   node http2_origin.js [tls|alpn CERT KEY] [streams=N] [connect]
//
// `alpn` takes HTTP/1.1 too. The first line of its output is "port N". What it does is in the path:
//   /echo            JSON: method, path, authority, headers as they came, body, trailers, session
//   /bytes/N         N bytes
//   /status/N        that status, no body
//   /trailers        a body and trailers
//   /hints           103 before 200
//   /duplex          a head at once, then each piece of the body as it comes
//   /hold            a head, then nothing until the client goes
//   /wait            nothing until somebody asks for /release
//   /sessions        how many connections are open, how many there were, the most streams at a time
//   /reset/N         resets the stream with that code
//   /goaway          GOAWAY for this connection, then the answer
//   /http1           HTTP_1_1_REQUIRED over HTTP/2; the version over HTTP/1.1
//
// With `connect` it takes extended CONNECT: to /chat, and by Upgrade where HTTP/1.1 is spoken, a WebSocket of the
// `ws` package that sends back what comes, and the version to the text "version"; to other paths, bytes that come back.

const http2 = require('http2')
const fs = require('fs')

const args = process.argv.slice(2)
const mode = ['tls', 'alpn'].includes(args[0]) ? args[0] : 'clear'
const settings = { enableConnectProtocol: args.includes('connect') }
for (const a of args) {
  const m = /^streams=(\d+)$/.exec(a)
  if (m) settings.maxConcurrentStreams = Number(m[1])
}

const { WebSocket, WebSocketServer } = require('ws')

function chat (socket, version) {
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => {
    if (!isBinary && data.toString() === 'version') socket.send(version)
    else socket.send(data, { binary: isBinary })
  })
}

let open = 0
let opened = 0
let streams = 0
let mostStreams = 0
let waiting = []

function collect (stream, done) {
  const parts = []
  stream.on('data', (piece) => parts.push(piece))
  stream.on('end', () => done(Buffer.concat(parts).toString('latin1')))
}

const paths = {
  echo (stream, headers, rest, raw) {
    let trailers = {}
    stream.on('trailers', (t) => { trailers = t })
    collect(stream, (body) => {
      stream.respond({ ':status': 200, 'content-type': 'application/json' })
      const list = []
      for (let i = 0; i < raw.length; i += 2) list.push([raw[i], raw[i + 1]])
      stream.end(JSON.stringify({
        method: headers[':method'], path: headers[':path'], authority: headers[':authority'],
        scheme: headers[':scheme'], headers: list, body, trailers: { ...trailers },
        session: stream.session.number
      }))
    })
  },
  bytes (stream, headers, n) {
    stream.respond({ ':status': 200, 'content-length': n })
    let left = Number(n)
    const piece = Buffer.alloc(65536, 'x')
    const go = () => {
      while (left > 0) {
        const part = left >= piece.length ? piece : piece.subarray(0, left)
        left -= part.length
        if (!stream.write(part)) { stream.once('drain', go); return }
      }
      stream.end()
    }
    go()
  },
  status (stream, headers, n) {
    stream.respond({ ':status': Number(n), 'x-status': n }, { endStream: true })
  },
  trailers (stream) {
    stream.respond({ ':status': 200 }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc' }))
    stream.end('body')
  },
  hints (stream) {
    stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' })
    stream.respond({ ':status': 200 })
    stream.end('hinted')
  },
  duplex (stream) {
    stream.respond({ ':status': 200 })
    stream.on('data', (piece) => stream.write(piece))
    stream.on('end', () => stream.end())
  },
  hold (stream) {
    stream.respond({ ':status': 200 })
    stream.write('held')
  },
  wait (stream) {
    waiting.push(() => { stream.respond({ ':status': 200 }); stream.end('waited') })
  },
  release (stream) {
    waiting.forEach((f) => f())
    stream.respond({ ':status': 200 })
    stream.end(String(waiting.length))
    waiting = []
  },
  sessions (stream) {
    stream.respond({ ':status': 200 })
    stream.end(JSON.stringify({ open, opened, most_streams: mostStreams, waiting: waiting.length }))
  },
  reset (stream, headers, code) {
    stream.close(Number(code))
  },
  goaway (stream) {
    stream.session.goaway(0)
    stream.respond({ ':status': 200 })
    stream.end('leaving')
  },
  http1 (stream) {
    stream.close(http2.constants.NGHTTP2_HTTP_1_1_REQUIRED)
  }
}

const options = { settings }
if (mode !== 'clear') {
  options.cert = fs.readFileSync(args[1])
  options.key = fs.readFileSync(args[2])
  options.allowHTTP1 = mode === 'alpn'
}
const server = mode === 'clear' ? http2.createServer(options) : http2.createSecureServer(options)

server.on('session', (session) => {
  session.number = ++opened
  open++
  session.on('close', () => { open-- })
  session.on('error', () => {})
})

server.on('stream', (stream, headers, flags, raw) => {
  streams++
  mostStreams = Math.max(mostStreams, streams)
  stream.on('close', () => { streams-- })
  stream.on('error', () => {})
  if (headers[':method'] === 'CONNECT' && headers[':protocol']) {
    const offered = headers['sec-websocket-protocol']
    stream.respond({ ':status': 200, ...(offered && { 'sec-websocket-protocol': offered.split(',')[0] }) })
    if (headers[':path'] === '/chat') {
      const socket = new WebSocket(null)
      stream.setNoDelay = () => {}
      socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 1 << 24, skipUTF8Validation: false })
      chat(socket, '2')
      return
    }
    stream.on('data', (piece) => stream.write(piece))
    stream.on('end', () => stream.end())
    return
  }
  const [name, rest] = headers[':path'].split('?')[0].slice(1).split('/')
  if (paths[name]) paths[name](stream, headers, rest, raw)
  else { stream.respond({ ':status': 404 }); stream.end('no such path') }
})

// Over HTTP/1.1, where ALPN allows it.
if (mode === 'alpn') {
  server.on('request', (request, response) => {
    if (request.httpVersionMajor === 1) {
      response.end(`HTTP/${request.httpVersion} ${request.method} ${request.url}`)
    }
  })
  server.on('connect', () => {}) // or it answers extended CONNECT, which is seen to above, by 405
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, stream, head) => {
    sockets.handleUpgrade(request, stream, head, (socket) => chat(socket, '1.1'))
  })
}

server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port))

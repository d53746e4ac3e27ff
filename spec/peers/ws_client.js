// A client for specs that speaks WebSocket through the `ws` package.
//
//   node ws_client.js URL [message...]
//
// Offers compression and the subprotocols "first" and "second". Sends each message when the answer to the one before
// has come: text, or "binary N" for so many bytes, "ping TEXT". Prints one line of JSON: extensions, protocol,
// answers, and the close's code and reason. Closes with 1000 behind the last answer.

const WebSocket = require('ws')

const [url, ...messages] = process.argv.slice(2)
const result = { answers: [] }
const socket = new WebSocket(url, ['first', 'second'], { perMessageDeflate: true })

function next () {
  const message = messages.shift()
  if (message === undefined) return socket.close(1000, 'done')
  const binary = /^binary (\d+)$/.exec(message)
  const ping = /^ping (.*)$/.exec(message)
  if (binary) socket.send(Buffer.alloc(Number(binary[1]), 7))
  else if (ping) socket.ping(ping[1])
  else socket.send(message)
}

socket.on('open', () => {
  result.extensions = socket.extensions
  result.protocol = socket.protocol
  next()
})
socket.on('message', (data, isBinary) => {
  const good = isBinary && data.every((byte) => byte === 7)
  result.answers.push(isBinary ? (good ? data.length : 'damaged') : data.toString())
  next()
})
socket.on('pong', (data) => {
  result.answers.push('pong ' + data)
  next()
})
socket.on('unexpected-response', (request, response) => {
  console.log(JSON.stringify({ status: response.statusCode }))
  process.exit(0)
})
socket.on('error', (error) => { result.error = error.message })
socket.on('close', (code, reason) => {
  result.code = code
  result.reason = reason.toString()
  console.log(JSON.stringify(result))
})

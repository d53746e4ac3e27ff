// A gRPC client (@grpc/grpc-js) for specs: one call, its outcome as a line of JSON.
//
//   node grpc_client.js PORT METHOD [deadline=MS] [x-in=VALUE] MESSAGE...
//
// { code, details, messages, out (x-out of the head), trailer (x-out of the trailers), ms }. Chat sends
// a message when the last one was answered, so it sees whether both directions flow at once.

const grpc = require('@grpc/grpc-js')
const service = require('./grpc_service.js')

const [port, name, ...rest] = process.argv.slice(2)
const options = {}
const metadata = new grpc.Metadata()
const words = []
for (const word of rest) {
  const m = /^([a-z-]+)=(.*)$/.exec(word)
  if (!m) words.push(word)
  else if (m[1] === 'deadline') options.deadline = Date.now() + Number(m[2])
  else metadata.set(m[1], m[2])
}

const Client = grpc.makeGenericClientConstructor(service, 'Gate')
const client = new Client('127.0.0.1:' + port, grpc.credentials.createInsecure(),
  { 'grpc.enable_retries': 0 })
const started = Date.now()
const outcome = { messages: [] }

function over (status) {
  outcome.code = status.code
  outcome.details = status.details
  outcome.trailer = status.metadata && status.metadata.get('x-out')[0]
  outcome.ms = Date.now() - started
  console.log(JSON.stringify(outcome))
  client.close()
}

function unary (problem, message) {
  if (!problem) outcome.messages.push(message)
}

const method = service[name]
let call
if (method.requestStream && method.responseStream) {
  call = client[name](metadata, options)
} else if (method.requestStream) {
  call = client[name](metadata, options, unary)
} else if (method.responseStream) {
  call = client[name](words[0], metadata, options)
} else {
  call = client[name](words[0], metadata, options, unary)
}
call.on('metadata', (m) => { outcome.out = m.get('x-out')[0] })
call.on('status', over)
call.on('error', () => {})

if (method.responseStream) {
  let next = 0
  const say = () => next < words.length ? call.write(words[next++]) : call.end()
  call.on('data', (m) => {
    outcome.messages.push(m)
    if (method.requestStream) say()
  })
  if (method.requestStream) say()
} else if (method.requestStream) {
  words.forEach((w) => call.write(w))
  call.end()
}

// The service that grpc_server.js and grpc_client.js speak: messages are text, so nothing is
// generated.

const text = { to: (s) => Buffer.from(String(s)), from: (b) => b.toString() }

function method (name, streamsIn, streamsOut) {
  return {
    path: '/tide.Gate/' + name,
    requestStream: streamsIn,
    responseStream: streamsOut,
    requestSerialize: text.to,
    requestDeserialize: text.from,
    responseSerialize: text.to,
    responseDeserialize: text.from
  }
}

module.exports = {
  Unary: method('Unary', false, false),
  Gather: method('Gather', true, false),
  Scatter: method('Scatter', false, true),
  Chat: method('Chat', true, true),
  Fail: method('Fail', false, false),
  Sleep: method('Sleep', false, false)
}

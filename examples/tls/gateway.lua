-- TLS from clients, and to an origin that speaks TLS too. Make certificates first, in this folder:
--
--   cd examples/tls
--   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
--     -keyout api.key -out api.pem -subj /CN=api.test -addext "subjectAltName=DNS:api.test,IP:127.0.0.1"
--
-- Then `build/tidegate run examples/tls/gateway.lua` serves https on 127.0.0.1:8443:
--
--   curl -i --cacert examples/tls/api.pem https://127.0.0.1:8443/          what reached the echo origin
--   curl -i --cacert examples/tls/api.pem https://127.0.0.1:8443/inner     the same, through TLS once more
--   curl -i http://127.0.0.1:8080/a?b=c                                    308 to https

local tg = require "tidegate"

tg.listener "https" {
  address = "127.0.0.1:8443",
  tls = { certificates = { { cert = tg.file "api.pem", key = tg.secret "file:api.key" } } },
  hsts = { max_age = "1h" },
}
tg.listener "http" { address = "127.0.0.1:8080", redirect = "https", redirect_port = 8443 }

tg.service "echo" { builtin = "echo" }

-- The gateway itself is the origin here; its certificate is for that address, and is trusted by name.
tg.service "itself" { targets = { { "127.0.0.1:8443" } }, tls = { ca = tg.file "api.pem" } }

tg.route "inner" { paths = { "/inner" }, service = "itself", rewrite = { path = "/" } }
tg.route "all" { service = "echo" }

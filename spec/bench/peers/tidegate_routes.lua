-- Tidegate with one worker and a hundred thousand routes, of which one is where @DIR@/changed-route says.
local tg = require "tidegate"

tg.settings { workers = 1, log = { level = "error" }, limits = { connection = { requests = 4000000000 } } }
tg.listener "http" { address = "127.0.0.1:@PORT@" }
local echo = tg.service "echo" { builtin = "echo" }
tg.route "root" { paths = { "/" }, service = echo }
tg.route "changed" { paths = { tg.file "@DIR@/changed-route" }, service = echo }
for i = 3, 100000 do
  tg.route("r" .. i) { paths = { ("/shop%d/article%d/*"):format(i % 1000, i) }, service = echo }
end

-- Loaded by wrk: prints its counts on one line that load.lua reads.
-- luacheck: globals done

function done(summary, latency, _)
  local errors = summary.errors
  local format = "counts requests=%d bytes=%d duration_us=%d connect=%d read=%d write=%d status=%d "
    .. "timeout=%d p99_us=%d"
  print(format:format(summary.requests, summary.bytes, summary.duration, errors.connect, errors.read,
    errors.write, errors.status, errors.timeout, latency:percentile(99)))
end

package quic

import (
	"context"
	"log/slog"
)

// wantedBuffer is what quic-go asks the system for, in bytes.
const wantedBuffer = 7 << 20

// remedy is for Linux, where the limit is that of the host: it cannot be set from
// inside a container.
const remedy = "sysctl -w net.core.rmem_max=7340032 net.core.wmem_max=7340032"

// checkBuffers logs, once, that the buffers of a socket are small. It is called
// when quic-go has made them as large as it may.
func (t *Transport) checkBuffers(s *socket) {
	t.mu.Lock()
	first := !t.measured
	t.measured = true
	t.mu.Unlock()
	if !first {
		return
	}
	pc := s.qt.Conn
	receive, send, ok := bufferSizes(pc)
	if !ok || min(receive, send) >= wantedBuffer {
		return
	}
	// The logger is the user's, and Dial and Listen wait for whoever calls this.
	go func() {
		t.opts.logger().LogAttrs(context.Background(), slog.LevelWarn,
			"quic: the UDP buffers are small; packets get lost when many arrive at once",
			slog.Int("receive", receive), slog.Int("send", send), slog.Int("wanted", wantedBuffer), slog.String("remedy", remedy))
	}()
}

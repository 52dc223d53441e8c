package websocket

import (
	"sync"

	"github.com/gobwas/ws"
)

// ponger answers pings. Writing may block, which the reader must not, so a
// goroutine does it, started by the first ping and ended when there is nothing
// to answer. Of pings that arrive while it waits only the last is answered,
// which RFC 6455 section 5.5.3 allows.
type ponger struct {
	mu      sync.Mutex // held for a copy of 125 bytes only
	payload []byte     // guarded by mu; of the last ping
	pending bool       // guarded by mu; payload is not answered yet
	running bool       // guarded by mu; the goroutine exists, or no longer can
}

// pong arranges for an answer to a ping with payload p.
func (c *conn) pong(p []byte) {
	c.pongs.mu.Lock()
	c.pongs.payload = append(c.pongs.payload[:0], p...)
	c.pongs.pending = true
	start := !c.pongs.running
	c.pongs.running = true
	c.pongs.mu.Unlock()
	if start {
		go c.sendPongs()
	}
}

// sendPongs runs until no ping is unanswered or the connection cannot be written
// to any more.
func (c *conn) sendPongs() {
	var frame [headroom + ws.MaxControlFramePayloadSize]byte
	for c.lockWrite() {
		// Taken under the write lock, so that it is the latest by then.
		n, ok := c.pongs.take(frame[headroom:])
		if !ok {
			c.unlockWrite()
			return
		}
		err := c.out.err
		if err == nil {
			err = c.send([][]byte{putHeader(frame[:headroom+n], ws.OpPong, c.nextMask())})
		}
		c.unlockWrite()
		if err != nil {
			return
		}
	}
}

// take copies the payload to answer into dst. If there is none it says so and
// allows another goroutine to be started.
func (p *ponger) take(dst []byte) (n int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pending {
		p.running = false
		return 0, false
	}
	p.pending = false
	return copy(dst, p.payload), true
}

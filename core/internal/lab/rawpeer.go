package lab

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// RawPeer is one connection of the peer that the test plays. A goroutine reads
// what arrives, and acknowledges it (W44), so that the subject is not held up
// unless Allow or AckByHand say so; the other methods are for the test alone.
type RawPeer struct {
	T       testing.TB // the test that the peer belongs to
	Cluster *RawCluster
	Conn    transport.Conn
	Side    uint8 // of the raw peer in ids: 0 if it has dialled
	Sums    bool  // batches begin with a checksum
	Flow    bool  // Next returns MARK, ACK and GRANT, which it else passes over

	Init  wire.Init  // what the subject sent
	Hello wire.Hello // what the subject sent
	Said  wire.Hello // what this peer sent

	mu      sync.Mutex
	more    *sync.Cond
	allowed int // batches that may still be read
	batches [][]byte
	longest int
	paced   uint64 // bytes that were read
	byHand  bool   // the test acknowledges
	err     error  // how the connection ended
	endedAt time.Time

	rest []byte // of the batch that is looked at

	writing sync.Mutex
}

// Unlimited is for Allow.
const Unlimited = 1 << 28

func (r *RawCluster) newPeer(tc transport.Conn, side uint8) *RawPeer {
	p := &RawPeer{T: r.T, Cluster: r, Conn: tc, Side: side, allowed: Unlimited}
	p.more = sync.NewCond(&p.mu)
	r.T.Cleanup(func() {
		tc.CloseWithError(0, "")
		p.Allow(Unlimited)
	})
	go p.read()
	return p
}

// read takes what arrives, as much as allowed.
func (p *RawPeer) read() {
	for {
		p.mu.Lock()
		for p.allowed <= 0 {
			p.more.Wait()
		}
		p.allowed--
		p.mu.Unlock()
		b, err := p.Conn.ReadFrame(1 << 20)
		p.mu.Lock()
		if err != nil {
			p.err, p.endedAt = err, time.Now()
			p.mu.Unlock()
			return
		}
		p.batches = append(p.batches, bytes.Clone(b))
		p.longest = max(p.longest, len(b))
		due := p.count(b) && !p.byHand
		p.mu.Unlock()
		if due {
			_ = p.write(p.sealed(p.ack())) // the next read tells
		}
	}
}

// count adds the paced bytes of a batch to those that were read, and reports
// whether an ACK was asked for. p.mu is held.
func (p *RawPeer) count(batch []byte) (marked bool) {
	if p.Sums {
		batch = batch[min(wire.ChecksumSize, len(batch)):]
	}
	for len(batch) > 0 {
		f, rest, err := wire.Next(batch)
		if err != nil {
			return marked // Next tells
		}
		if f.Paced() {
			p.paced += wire.HeaderSize + uint64(len(f.Body))
		}
		marked = marked || f.Type == wire.TypeMark
		batch = rest
	}
	return marked
}

// AckByHand leaves the acknowledging to the test.
func (p *RawPeer) AckByHand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byHand = true
}

// Paced returns how many paced bytes (W44) were read.
func (p *RawPeer) Paced() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paced
}

// Ack acknowledges the paced bytes that were read.
func (p *RawPeer) Ack() {
	p.T.Helper()
	p.Send(p.ack())
}

func (p *RawPeer) ack() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return wire.AppendAck(nil, p.paced)
}

// Allow makes the peer read at most n more batches.
func (p *RawPeer) Allow(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = n
	p.more.Signal()
}

// Write sends bytes as one batch, exactly as they are: in the handshake, or to
// break the rules of batches.
func (p *RawPeer) Write(b []byte) {
	p.T.Helper()
	if err := p.write(b); err != nil && p.Ended() == nil {
		p.T.Fatalf("writing failed on a connection that lives: %v", err)
	}
}

// Send sends frames as one batch, with a checksum if the session has them.
func (p *RawPeer) Send(frames ...[]byte) {
	p.T.Helper()
	p.Write(p.sealed(frames...))
}

// sealed returns frames as one batch.
func (p *RawPeer) sealed(frames ...[]byte) []byte {
	b := bytes.Join(frames, nil)
	if p.Sums {
		b = append(make([]byte, wire.ChecksumSize), b...)
		wire.PutChecksum(b)
	}
	return b
}

func (p *RawPeer) write(b []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.Conn.WriteFrames([][]byte{bytes.Clone(b)})
}

// Ended returns how the connection has ended, or nil if it has not.
func (p *RawPeer) Ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// EndTime returns when the connection ended.
func (p *RawPeer) EndTime() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.endedAt
}

// LongestBatch returns the size of the longest batch that has arrived.
func (p *RawPeer) LongestBatch() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longest
}

// Unread returns what has arrived and was not taken.
func (p *RawPeer) Unread() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Join(p.batches, nil)
}

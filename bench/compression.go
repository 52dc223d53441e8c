package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
)

const (
	// There are as many callers as have underWay bytes of messages together, within
	// limits: enough to keep both processors and a link busy.
	underWay     = 512 << 10
	leastCallers = 8
	mostCallers  = 256
	// dictionaryUpTo is the size up to which core uses a dictionary.
	dictionaryUpTo = 16 << 10
	// Of each payload there are several messages, which callers take in turn: as many as
	// have messageBytes together, within limits.
	messageBytes  = 256 << 10
	leastMessages = 2
	mostMessages  = 64
)

// off is the name of the way that compresses nothing.
const off = "off"

// dictSuffix is in the names of ways with a dictionary.
const dictSuffix = "+dict"

// wayNames are those of all ways, cheaper ones first.
func wayNames() []string { return []string{off, "s2", "s2" + dictSuffix, "zstd", "zstd" + dictSuffix} }

// sending is messages of one payload and size, and all ways to send them.
type sending struct {
	payload  string
	size     int // the mean
	messages [][]byte
	ways     []*way // off is the first
}

// way is how the messages are sent.
type way struct {
	name    string
	with    *compress.Codec // nil: as they are
	handler core.HandlerID  // of it alone, for core remembers whether compression was worth it
	options []core.CallOption
	title   string
	calls   atomic.Int64
	// expect is the message that the next request is to be; nil: it is not looked at.
	expect atomic.Pointer[[]byte]

	windows []sample
	octets  []float64 // of each call on the link, by window
}

// sendings makes the messages and the codecs that the options ask for.
func sendings(o *compressionOptions) (all []*sending) {
	if o.samples != "" {
		return append(all, ownSending(o.own))
	}
	for _, name := range o.payloads {
		p := generated(name)
		d := trained(p.train, p.messages(200, mostMessages))
		for _, size := range o.sizes {
			all = append(all, newSending(p.name, size, p.messages(size, min(max(messageBytes/size, leastMessages), mostMessages)), d))
		}
	}
	return all
}

// leastOwn is how many messages of the user it takes: two for a dictionary and two to send.
const leastOwn = 4

// readOwn reads the messages of the user, if they are to be compressed.
func (o *compressionOptions) readOwn(ctx context.Context) (err error) {
	if o.samples == "" {
		return nil
	}
	if o.own, err = readSamples(ctx, o.lines, o.samples); err != nil {
		return err
	}
	if n := len(o.own); n < leastOwn {
		return fmt.Errorf("%s has %s: it takes %d or more", o.samples, plural(n, "message"), leastOwn)
	}
	return nil
}

// ownSending is the messages of the user.
func ownSending(all [][]byte) *sending {
	train, rest := apart(all)
	sent, total := 0, 0
	for sent < len(rest) && total < ownBytes {
		total += len(rest[sent])
		sent++
	}
	return newSending("samples", total/sent, rest[:sent], trained(train, rest))
}

// ownBytes is about how many bytes of the user's messages are sent again and again.
const ownBytes = 8 << 20

func newSending(name string, size int, messages [][]byte, d *compress.Dictionary) *sending {
	s := &sending{payload: name, size: size, messages: messages}
	s.add(off, nil)
	s.add("s2", compress.S2())
	if size > dictionaryUpTo {
		d = nil
	}
	if d != nil {
		s.add("s2"+dictSuffix, compress.S2(compress.WithDictionary(d)))
	}
	s.add("zstd", compress.Zstd())
	if d != nil {
		s.add("zstd"+dictSuffix, compress.Zstd(compress.WithDictionary(d)))
	}
	return s
}

// callers is how many are needed to have so many bytes under way.
func (s *sending) callers() int {
	return min(max(underWay/max(s.size, 1), leastCallers), mostCallers)
}

func (s *sending) title() string { return s.payload + " " + octets(s.size) }

// add adds a way.
func (s *sending) add(name string, with *compress.Codec) {
	w := &way{
		name: name, title: s.title() + ", " + name, with: with,
		handler: core.HandlerID(fmt.Sprintf("bench.take.%s.%d.%s", s.payload, s.size, name)),
		options: []core.CallOption{core.WithTimeout(callTimeout)},
	}
	if with != nil {
		// As an option of the call it holds from the first call on.
		w.options = append(w.options, core.WithRequestCompression(with))
	}
	s.ways = append(s.ways, w)
}

// take is the handler. It answers with the length of what has arrived.
func (w *way) take(_ context.Context, req, dst []byte) ([]byte, error) {
	if want := w.expect.Load(); want != nil && !bytes.Equal(req, *want) {
		return dst, errWrongAnswer
	}
	return binary.AppendUvarint(dst, uint64(len(req))), nil
}

// send sends one message and looks at the answer.
func (w *way) send(ctx context.Context, c *core.Connection, m, buf []byte) error {
	w.calls.Add(1)
	answer, err := c.AppendRequest(ctx, w.handler, m, buf[:0], w.options...)
	if err != nil {
		return err
	}
	if n, _ := binary.Uvarint(answer); n != uint64(len(m)) {
		return errWrongAnswer
	}
	return nil
}

// sender is send over a connection.
func (w *way) sender(c *core.Connection) func(ctx context.Context, m, buf []byte) error {
	return func(ctx context.Context, m, buf []byte) error { return w.send(ctx, c, m, buf) }
}

// check holds that the messages arrive as they are.
func (w *way) check(ctx context.Context, c *core.Connection, messages [][]byte) error {
	defer w.expect.Store(nil)
	buf := make([]byte, 0, binary.MaxVarintLen64)
	for _, m := range messages {
		w.expect.Store(&m)
		if err := w.send(ctx, c, m, buf); err != nil {
			return err
		}
	}
	return nil
}

// callers send the messages in turn.
func callers(messages [][]byte, n int, send func(ctx context.Context, m, buf []byte) error) (t tasks) {
	for first := range n {
		t.measured = append(t.measured, func(ctx context.Context) (step func() error, end func(), err error) {
			next := first * len(messages) / n
			buf := make([]byte, 0, binary.MaxVarintLen64)
			return func() error {
				m := messages[next%len(messages)]
				next++
				return send(ctx, m, buf)
			}, func() {}, nil
		})
	}
	return t
}

// senders is two nodes, of which one sends to the other in every way.
type senders struct {
	*cluster

	bench *bench
}

// openSenders connects them. more registers further handlers.
func openSenders(ctx context.Context, n network, all []*sending, more ...func(*core.Manager) error) (*senders, error) {
	ctx, cancel := context.WithTimeout(ctx, linkConnectTimeout)
	defer cancel()
	c, err := openCluster(ctx, n, []string{"a", "b"}, func(cfg *core.Config) {
		for _, s := range all {
			for _, w := range s.ways[1:] {
				cfg.Compressors = append(cfg.Compressors, w.with)
			}
		}
	}, func(m *core.Manager) error {
		for _, s := range all {
			for _, w := range s.ways {
				if err := m.HandleAppend(w.handler, w.take); err != nil {
					return err
				}
			}
		}
		for _, register := range more {
			if err := register(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &senders{c, newBench(mostCallers)}, nil
}

// sent is how many bytes a has sent to b.
func (s *senders) sent() int64 {
	peers := s.nodes["a"].Stats().Peers
	return peers[slices.IndexFunc(peers, func(p core.PeerStats) bool { return p.Peer == "b" })].Sent
}

// window measures a way with n callers. octets are those of each call.
func (s *senders) window(ctx context.Context, of *sending, w *way, n int, p plan) (m sample, octets float64, err error) {
	octetsBefore, callsBefore := s.sent(), w.calls.Load()
	what := load{table: calls, title: w.title, atOnce: n, each: 1}
	m, err = s.bench.window(ctx, &what, callers(of.messages, n, w.sender(s.connection("b"))), p.warmUp, p.window)
	if err != nil {
		return m, 0, fmt.Errorf("%s: %w", w.title, err)
	}
	return m, float64(s.sent()-octetsBefore) / float64(w.calls.Load()-callsBefore), nil
}

package threats_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// passing is one transport frame on its way past somebody in the middle.
type passing struct {
	byDialler bool
	nth       int // of its direction, from 0
	frame     []byte
}

// middle sits on the links that a node dials, and may change what passes.
type middle struct {
	transport.Transport
	change func(p passing) []byte
}

type middleConn struct {
	transport.Conn
	change  func(p passing) []byte
	out, in int
}

func (m middle) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	tc, err := m.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return &middleConn{Conn: tc, change: m.change}, nil
}

func (c *middleConn) WriteFrames(frames [][]byte) error {
	h := c.Info().Headroom
	for i, f := range frames {
		frames[i] = append(make([]byte, h), c.change(passing{true, c.out, bytes.Clone(f[h:])})...)
		c.out++
	}
	return c.Conn.WriteFrames(frames)
}

func (c *middleConn) ReadFrame(limit int) ([]byte, error) {
	b, err := c.Conn.ReadFrame(limit)
	if err == nil {
		b = c.change(passing{false, c.in, bytes.Clone(b)})
		c.in++
	}
	return b, err
}

// proofFailed is what a node says of a peer whose proof it has not accepted.
const proofFailed = "proof was not accepted"

// meetThrough lets two nodes that have the same keys find each other through
// somebody in the middle. It returns what they say of it, nil if a call got
// through, and whether a handler ran.
func meetThrough(t *testing.T, kind identityKind, change func(p passing) []byte) (errs [2]error, logs [2]string, ran bool) {
	t.Helper()
	var calls atomic.Int32
	d := newDuo(t, func(i int, cfg *core.Config) {
		cfg.Auth, cfg.ConnectTimeout = kind.auth(cfg.Local.Name), 100*time.Millisecond
		cfg.Transport = middle{cfg.Transport, change}
	}, func(m *core.Manager) error {
		return m.Handle("count", func(context.Context, []byte) ([]byte, error) { calls.Add(1); return nil, nil })
	})
	defer d.close()
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = d.conn(i).Request(t.Context(), "count", nil, core.WaitForConnection(), core.WithTimeout(150*time.Millisecond))
		})
	}
	wg.Wait()
	for i := range logs {
		logs[i] = d.books[i].String()
	}
	return errs, logs, calls.Load() > 0
}

// handshakeFrames are those that two nodes exchange before anything else, by
// direction.
func handshakeFrames(t *testing.T, kind identityKind) (frames map[bool][][]byte) {
	t.Helper()
	frames = map[bool][][]byte{}
	var mu sync.Mutex
	errs, _, ran := meetThrough(t, kind, func(p passing) []byte {
		mu.Lock()
		defer mu.Unlock()
		if p.nth < 3 || p.byDialler && p.nth == 3 { // READY is the dialler's alone
			frames[p.byDialler] = append(frames[p.byDialler], p.frame)
		}
		return p.frame
	})
	if errs[0] != nil || errs[1] != nil || !ran || len(frames[true]) < 4 || len(frames[false]) < 3 {
		t.Fatalf("two nodes with nobody in between do not meet: %v", errs)
	}
	return frames
}

// TestProtocolMiddle has somebody in the middle change one bit at every place
// of the handshake in turn (W71). No call gets through, and no handler runs
// (T17).
func TestProtocolMiddle(t *testing.T) {
	for _, kind := range identityKinds {
		lab.Bubble(t, "W71 "+kind.name, func(t *testing.T) {
			for byDialler, frames := range handshakeFrames(t, kind) {
				for n, frame := range frames {
					for bit := range 8 * len(frame) {
						// One bit of each byte, under the race detector of some.
						if !lab.Heavy() && bit%lab.Scale(8, 40, 1) != (bit/8+n)%8 {
							continue
						}
						errs, _, ran := meetThrough(t, kind, func(p passing) []byte {
							if p.byDialler == byDialler && p.nth == n {
								p.frame[bit/8] ^= 1 << (bit % 8)
							}
							return p.frame
						})
						if errs[0] == nil || errs[1] == nil || ran {
							t.Errorf("bit %d of frame %d changed on its way (by the dialler: %v): got %v, handlers ran: %v; want no call to get through",
								bit, n, byDialler, errs, ran)
						}
					}
				}
			}
		})
	}
}

// editHello changes fields of a HELLO as somebody does who knows the format.
func editHello(change func(h *wire.Hello)) func(frame []byte) []byte {
	return func(frame []byte) []byte {
		f, _, err := wire.Next(frame)
		if err != nil {
			return frame
		}
		h, err := wire.ParseHello(&f)
		if err != nil {
			return frame
		}
		change(&h)
		return wire.AppendHello(nil, &h)
	}
}

// TestProtocolDowngrade has somebody in the middle make well-formed changes to
// what the two nodes agree on. It is the proof that gives them away, on the side
// that got the forgery or was answered to one (T17).
func TestProtocolDowngrade(t *testing.T) {
	inits := map[string]func(frame []byte) []byte{
		"the lowest version":  func(b []byte) []byte { b[wire.HeaderSize+4] = 0; return b },
		"the highest version": func(b []byte) []byte { b[wire.HeaderSize+5] = 9; return b },
		"a bit of the link":   func(b []byte) []byte { b[wire.HeaderSize+6] ^= 4; return b },
		"a proxy is allowed":  func(b []byte) []byte { b[wire.HeaderSize+6] ^= 2; return b },
		"the nonce":           func(b []byte) []byte { b[wire.HeaderSize+38] ^= 1; return b },
		"a longer INIT":       func(b []byte) []byte { b[0]++; return append(b, 7) },
	}
	hellos := map[string]func(frame []byte) []byte{
		"a feature":       editHello(func(h *wire.Hello) { h.Features ^= 1 << 40 }),
		"the checksum":    editHello(func(h *wire.Hello) { h.Features ^= wire.FeatureChecksum }),
		"maxframe":        editHello(func(h *wire.Hello) { h.MaxFrame-- }),
		"maxmsg":          editHello(func(h *wire.Hello) { h.MaxMsg-- }),
		"maxcalls":        editHello(func(h *wire.Hello) { h.MaxCalls = 1 }),
		"the keep-alive":  editHello(func(h *wire.Hello) { h.KeepAlive++ }),
		"the windows":     editHello(func(h *wire.Hello) { h.Window = 1 }),
		"compressors":     editHello(func(h *wire.Hello) { h.Codecs = []string{"none"} }),
		"the instance":    editHello(func(h *wire.Hello) { h.Instance[3] ^= 1 }),
		"the catalogue":   editHello(func(h *wire.Hello) { h.Catalogue[0] ^= 1 }),
		"the cluster":     editHello(func(h *wire.Hello) { h.Cluster = "other" }),
		"who is meant":    editHello(func(h *wire.Hello) { h.To += "x" }),
		"one field more":  func(b []byte) []byte { return withCRC(lab.HelloField("future", 1)(b[wire.HeaderSize : len(b)-4])) },
		"the order of it": func(b []byte) []byte { return withCRC(swapFields(b[wire.HeaderSize : len(b)-4])) },
	}
	for _, kind := range identityKinds {
		for n, edits := range []map[string]func(frame []byte) []byte{inits, hellos} {
			for name, edit := range edits {
				for _, byDialler := range []bool{false, true} {
					lab.Bubble(t, fmt.Sprintf("W71 %s, %s, by the dialler: %v", kind.name, name, byDialler), func(t *testing.T) {
						errs, logs, ran := meetThrough(t, kind, func(p passing) []byte {
							if p.byDialler == byDialler && p.nth == n {
								return edit(p.frame)
							}
							return p.frame
						})
						if errs[0] == nil || errs[1] == nil || ran {
							t.Errorf("got %v, handlers ran: %v; want no call to get through", errs, ran)
						}
						// The acceptor checks first. What the dialler has said can only be
						// wrong there, nor can what both INITs say.
						if found := byDialler || n == 0; found != strings.Contains(logs[1], proofFailed) {
							t.Errorf("the acceptor's log says %s", logs[1])
						}
						if !byDialler && n > 0 {
							lab.WantText(t, "the dialler", errs[0], proofFailed)
						}
					})
				}
			}
		}
	}
}

// withCRC returns a HELLO of the fields.
func withCRC(fields []byte) []byte {
	fields = bytes.Clone(fields)
	sum := crc32.Checksum(fields, crc32.MakeTable(crc32.Castagnoli))
	return lab.RawFrame(wire.Frame{Type: wire.TypeHello, Body: binary.LittleEndian.AppendUint32(fields, sum)})
}

// swapFields exchanges the last two fields of a HELLO, codecs and catalogue,
// which says the same in other bytes.
func swapFields(fields []byte) []byte {
	codecs := bytes.LastIndex(fields, []byte("\xa6codecs"))
	catalogue := bytes.LastIndex(fields, []byte("\xa9catalogue"))
	return bytes.Join([][]byte{fields[:codecs], fields[catalogue:], fields[codecs:catalogue]}, nil)
}

// TestProtocolClock holds that nothing on the wire depends on the clock: two
// nodes exchange the same bytes ten years later, but for what is random, and so
// does a call with a deadline (F8).
func TestProtocolClock(t *testing.T) {
	record := func(t *testing.T, kind identityKind) (all []string) {
		var mu sync.Mutex
		errs, _, _ := meetThrough(t, kind, func(p passing) []byte {
			mu.Lock()
			defer mu.Unlock()
			// Which frames share a batch is a matter of the moment.
			for rest := bytes.Clone(p.frame); len(rest) > 0; {
				f, next, err := wire.Next(rest)
				if err != nil {
					t.Errorf("a node sent what is no frame: %v", err)
					break
				}
				shown := rest[:len(rest)-len(next)]
				switch f.Type {
				case wire.TypeInit:
					clear(shown[len(shown)-wire.NonceSize:])
				case wire.TypeHello:
					shown = editHello(func(h *wire.Hello) { clear(h.Instance[:]) })(shown)
				case wire.TypeProof: // covers the others
					shown = shown[:wire.HeaderSize]
				}
				all = append(all, fmt.Sprintf("by the dialler: %v, %v %x", p.byDialler, f.Type, shown))
				rest = next
			}
			return p.frame
		})
		if errs[0] != nil || errs[1] != nil || len(all) != 11 {
			t.Fatalf("two nodes do not meet: %v, %d frames", errs, len(all))
		}
		return all
	}
	for _, kind := range identityKinds {
		lab.Bubble(t, kind.name, func(t *testing.T) {
			before := record(t, kind)
			time.Sleep(10 * 365 * 24 * time.Hour)
			after := record(t, kind)
			slices.Sort(before)
			slices.Sort(after)
			if !slices.Equal(before, after) {
				t.Errorf("two nodes sent\n%s\nand ten years later\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		})
	}
}

package threats_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// rawBook is a logger that remembers what it is told as it is, without the
// quotes that the handlers of slog put around what is odd.
type rawBook struct {
	mu    sync.Mutex
	lines []string
}

func (b *rawBook) logger() *slog.Logger { return slog.New(b) }

func (b *rawBook) Enabled(context.Context, slog.Level) bool { return true }

func (b *rawBook) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value.Any())
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	return nil
}

func (b *rawBook) WithAttrs([]slog.Attr) slog.Handler { return b }
func (b *rawBook) WithGroup(string) slog.Handler      { return b }

func (b *rawBook) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines)
}

// harmlessLines holds lines of a log to what a person and a terminal can bear.
func (b *rawBook) harmlessLines(t *testing.T, most int) {
	t.Helper()
	lines := b.all()
	if len(lines) < 2 || len(lines) > most {
		t.Errorf("%d lines of the log, want a few, %d at most", len(lines), most)
	}
	for _, line := range lines {
		if strings.ContainsAny(line, harmful) {
			t.Errorf("raw control bytes in a line of the log: %q", line)
		}
		if strings.Contains(line, string(testKey)) {
			t.Errorf("the key is in a line of the log: %q", line)
		}
		if len(line) > 2000 {
			t.Errorf("a line of %d bytes: %.200q", len(line), line)
		}
	}
}

const (
	harmful = "\n\r\x00\x1b\u202e"
	evil    = "evil\n\x1b[31mroot\r\x00\u202e"
)

// TestStrangersInTheLog lets 10 000 strangers fail within some minutes, with
// names that are meant to harm whoever reads the log. There is a line a minute,
// without a raw control byte, without the key, and short (T20).
func TestStrangersInTheLog(t *testing.T) {
	lab.Bubble(t, "W57", func(t *testing.T) {
		book := new(rawBook)
		r := lab.NewRawCluster(t, lab.RawSetup{Auth: identityKinds[0].auth, Config: func(cfg *core.Config) { cfg.Logger = book.logger() }})
		name := evil + strings.Repeat("x", 255-len(evil))
		strangers := lab.Scale(10_000, 1000, 50_000)
		for i := range strangers {
			p := r.DialFrom("stranger")
			switch i % 4 {
			case 0:
				p.Write(lab.RawFrame(wire.Frame{Type: 0x01, Body: []byte(evil)}))
			case 1:
				p.Write(bytes.Repeat([]byte(evil), 1000))
			default:
				introduce(p, p.HelloBytes(func(h *wire.Hello) {
					h.From, h.Cluster = name, name
					if i%4 == 2 {
						h.To = name
					}
				}))
				p.Write(rawIdentity{shared: []byte(evil)}.proof(rawDialler, []byte(evil)))
			}
			time.Sleep(20 * time.Millisecond)
		}
		r.Dial().Write(bytes.Repeat([]byte(evil), 100_000)) // over a megabyte
		synctest.Wait()
		book.harmlessLines(t, strangers/3000+10)
	})
}

// TestPeersInTheLog has a peer say harmful things wherever it has a word: in
// REJECT, in GOAWAY, at the end of the connection, and in refusals of calls. Neither
// the log nor what WaitConnected says passes them on as they are (T20, T21).
func TestPeersInTheLog(t *testing.T) {
	lab.Bubble(t, "W31", func(t *testing.T) {
		book := new(rawBook)
		r := lab.NewRawCluster(t, lab.RawSetup{Auth: identityKinds[0].auth, Dials: true, Config: func(cfg *core.Config) { cfg.Logger = book.logger() }})
		id := identityKinds[0].of(r.Name)
		harmless := func(err error) {
			t.Helper()
			if said := err.Error(); strings.ContainsAny(said, harmful) || len(said) > 1000 {
				t.Errorf("what a peer said is passed on as it is: %q", said)
			}
		}
		for range 5 {
			p := r.Accept()
			p.TakeInit()
			p.Write(wire.AppendStatus(nil, wire.TypeReject, 0, wire.Status{Code: 23, Message: strings.Repeat(evil, 100)}))
			synctest.Wait()
			harmless(r.WhyNot())
		}
		p := r.Accept()
		handshakeAs(p, id)
		call, answer := p.Called()
		p.Send(wire.AppendStatus(nil, wire.TypeRefused, call, wire.Status{Code: 11, Message: evil}))
		harmless(lab.Wait(t, answer, "the call is refused").Err)
		p.Send(wire.AppendStatus(nil, wire.TypeGoaway, 0, wire.Status{Code: 30, Message: strings.Repeat(evil, 100)}))
		synctest.Wait()
		harmless(r.WhyNot())
		p.Conn.CloseWithError(30, evil)
		p = r.Accept()
		handshakeAs(p, id)
		_, answer = p.Called()
		p.Conn.CloseWithError(31, evil)
		harmless(lab.Wait(t, answer, "the call ends with its session").Err)
		synctest.Wait()
		harmless(r.WhyNot())
		book.harmlessLines(t, 20)
	})
}

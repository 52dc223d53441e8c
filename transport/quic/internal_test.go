package quic

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
)

// blockedBook collects what is logged, and blocks whoever logs until gate is closed.
type blockedBook struct {
	gate chan struct{}
	bytes.Buffer
}

func (b *blockedBook) Write(p []byte) (int, error) {
	<-b.gate
	return b.Buffer.Write(p)
}

// TestBufferWarning expects one line, with the remedy, about a socket whose
// buffers are small, and nobody to wait for the logger that gets it.
func TestBufferWarning(t *testing.T) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if err := errors.Join(pc.SetReadBuffer(64<<10), pc.SetWriteBuffer(64<<10)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		book := blockedBook{gate: make(chan struct{})}
		tr := New(Options{TLS: &tls.Config{}, Logger: slog.New(slog.NewTextHandler(&book, nil))})
		for range 2 {
			tr.checkBuffers(&socket{qt: &quicgo.Transport{Conn: pc}})
		}
		close(book.gate)
		synctest.Wait()
		if n := bytes.Count(book.Bytes(), []byte("net.core.rmem_max")); n != 1 {
			t.Errorf("%d lines of warning: %s", n, &book)
		}
	})
}

// TestWindows expects the windows of a connection to be those of the documentation, and
// one that the user has set to stay, with the ones that depend on it no narrower.
func TestWindows(t *testing.T) {
	type windows struct{ stream, maxStream, conn, maxConn uint64 }
	for _, test := range []struct {
		config *quicgo.Config
		want   windows
	}{
		{nil, windows{512 << 10, 8 << 20, 768 << 10, 24 << 20}},
		{&quicgo.Config{InitialStreamReceiveWindow: 64 << 10}, windows{64 << 10, 8 << 20, 768 << 10, 24 << 20}},
		{&quicgo.Config{InitialStreamReceiveWindow: 32 << 20}, windows{32 << 20, 32 << 20, 32 << 20, 32 << 20}},
		{&quicgo.Config{MaxConnectionReceiveWindow: 1 << 20}, windows{512 << 10, 8 << 20, 768 << 10, 1 << 20}},
	} {
		c := (&Options{Config: test.config}).quicConfig()
		got := windows{
			c.InitialStreamReceiveWindow, c.MaxStreamReceiveWindow, c.InitialConnectionReceiveWindow, c.MaxConnectionReceiveWindow,
		}
		if got != test.want {
			t.Errorf("%+v: %+v, want %+v", test.config, got, test.want)
		}
	}
}

// TestDoor expects strangers to hold no more than there is, each host no more than
// it leaves to the others, and whoever leaves to make room.
func TestDoor(t *testing.T) {
	d := newDoor(newCalmLog(slog.New(slog.DiscardHandler)))
	addr := func(host byte) net.Addr { return &net.UDPAddr{IP: net.IPv4(10, 0, 0, host), Port: 1} }
	var in []*visitor
	fill := func(host byte) (n int) {
		for ; ; n++ {
			if d.crowded() != (d.fresh >= crowd) {
				t.Fatalf("with %d in their handshake: crowded is %v", d.fresh, d.crowded())
			}
			v, err := d.enter(t.Context(), addr(host))
			if err != nil {
				return n
			}
			in = append(in, v)
		}
	}
	for host, want := range []int{maxFresh / 2, maxFresh / 4, maxFresh / 8} {
		if got := fill(byte(host)); got != want {
			t.Errorf("host %d has %d, want %d", host, got, want)
		}
	}
	// The first ones are over. Who has most gets none of what they leave.
	for _, v := range in[:maxFresh/4] {
		if !v.leave() || v.leave() {
			t.Error("a visitor leaves once")
		}
	}
	if got := fill(0); got >= maxFresh/8 {
		t.Errorf("a host that has %d has got %d more", maxFresh/4, got)
	}
	for host := range byte(200) {
		fill(host)
	}
	if d.fresh > maxFresh {
		t.Errorf("%d are in their handshake", d.fresh)
	}
	for _, v := range in {
		v.leave()
	}
	if d.fresh != 0 || len(d.held) != 0 {
		t.Errorf("after leaving: %d, %v", d.fresh, d.held)
	}
}

// TestHandshakesInTheLog expects ten failed handshakes a second to be logged, and how
// many there were beside them.
func TestHandshakesInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book bytes.Buffer
		log := newCalmLog(slog.New(slog.NewTextHandler(&book, nil)))
		for range 3 {
			for range 50 {
				log.stranger(&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, errors.New("bad"))
			}
			<-time.After(time.Second)
			synctest.Wait()
		}
		text := book.String()
		if lines, left := bytes.Count(book.Bytes(), []byte("\n")), strings.Count(text, "left_out=40"); lines != 30 || left != 2 {
			t.Errorf("%d lines, %d of them about others: %s", lines, left, text)
		}
	})
}

// TestBlockedLoggerPilesNothingUp expects one goroutine, and ten lines that wait, to be
// what strangers leave behind with a logger that blocks, however long they go on; and
// the others to be counted when it goes on.
func TestBlockedLoggerPilesNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := blockedBook{gate: make(chan struct{})}
		log := newCalmLog(slog.New(slog.NewTextHandler(&book, nil)))
		stranger := func(port int) {
			log.stranger(&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port}, errors.New("bad"))
		}
		unblock := sync.OnceFunc(func() { close(book.gate) })
		defer unblock()
		const seconds, each = 60, 20
		before := runtime.NumGoroutine()
		for second := range seconds {
			for n := range each {
				stranger(second*each + n)
				if second == 0 && n == 0 {
					synctest.Wait() // until the logger has the first one
				}
			}
			if more := runtime.NumGoroutine() - before; more > 1 {
				t.Fatalf("after %d strangers there are %d goroutines more", (second+1)*each, more)
			}
			<-time.After(time.Second)
		}
		unblock()
		synctest.Wait()
		stranger(9999)
		synctest.Wait()
		lines := strings.Split(strings.TrimSuffix(book.String(), "\n"), "\n")
		// One that the logger had, ten that waited, and the one that came after.
		if len(lines) != 12 {
			t.Fatalf("%d lines: %q", len(lines), lines)
		}
		for n, line := range lines[:10] {
			if !strings.Contains(line, fmt.Sprintf("10.0.0.1:%d ", n)) || strings.Contains(line, "left_out") {
				t.Errorf("line %d: %s", n, line)
			}
		}
		// Ten in the first second, and the eleventh was the first of the next.
		if want := fmt.Sprintf("left_out=%d", each-10); !strings.HasSuffix(lines[10], want) {
			t.Errorf("the last one that waited lacks %s: %s", want, lines[10])
		}
		if want := fmt.Sprintf("left_out=%d", seconds*each-11-(each-10)); !strings.HasSuffix(lines[11], want) {
			t.Errorf("the one that came after lacks %s: %s", want, lines[11])
		}
	})
}

// TestWordsOfStrangersAreTame expects what strangers say in closing a connection, in
// every form that QUIC has for that, to be short and quoted: in the error of a dial, and
// in the log of a listener.
func TestWordsOfStrangersAreTame(t *testing.T) {
	const evil = "\x1b[2J\r\nroot logged in \xff"
	words := strings.Repeat(evil, 50)
	versions := make([]quicgo.Version, 300)
	tr := New(Options{})
	for name, err := range map[string]error{
		"transport":   &quicgo.TransportError{Remote: true, ErrorCode: quicgo.ProtocolViolation, ErrorMessage: words},
		"application": &quicgo.ApplicationError{Remote: true, ErrorCode: 7, ErrorMessage: words},
		"versions":    &quicgo.VersionNegotiationError{Theirs: versions},
	} {
		var book bytes.Buffer
		synctest.Test(t, func(*testing.T) { // ends when the line is written
			newCalmLog(slog.New(slog.NewJSONHandler(&book, nil))).stranger(&net.UDPAddr{}, err)
		})
		var line struct{ Error string }
		if err := json.Unmarshal(book.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		_, dialled := tr.explain(err)
		for where, text := range map[string]string{"dial": dialled.Error(), "log": line.Error} {
			if len(text) > 1000 || strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
				t.Errorf("%s: the error of a %s has %d bytes: %q", name, where, len(text), text)
			}
			if name != "versions" && !strings.Contains(text, "root logged in") {
				t.Errorf("%s: the error of a %s does not say what the peer has said: %q", name, where, text)
			}
		}
	}
}

// TestGuard expects the user's own decision about connections to hold beside that of
// the door, and a connection that it refuses to leave nothing in there.
func TestGuard(t *testing.T) {
	type key struct{}
	errNo := errors.New("no")
	refuse := false
	theirs := func(context.Context, *quicgo.ClientInfo) (context.Context, error) {
		if refuse {
			return nil, errNo
		}
		return context.WithValue(t.Context(), key{}, 1), nil // not derived from ours
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(newCalmLog(slog.New(slog.DiscardHandler)))
		client := &quicgo.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}}
		for _, refuse = range []bool{false, true} {
			conn, end := context.WithCancel(t.Context())
			ctx, err := d.guard(theirs)(conn, client)
			switch {
			case refuse != errors.Is(err, errNo):
				t.Errorf("refused %v: %v", refuse, err)
			case !refuse && (ctx.Value(key{}) == nil || ctx.Value(visitorKey{}) == nil):
				t.Error("the context lacks the value of the user's, or the visitor")
			}
			end()
			synctest.Wait()
			if d.fresh != 0 {
				t.Errorf("refused %v: %d are in their handshake", refuse, d.fresh)
			}
		}
	})
}

// TestResetKey expects the key to be the user's, else to depend on the private key
// and the address of the node, from wherever the former comes, else to be random.
func TestResetKey(t *testing.T) {
	certificate := func() *tls.Config {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{{PrivateKey: key}}}
	}
	a, b := certificate(), certificate()
	here, there := &net.UDPAddr{IP: net.IPv6zero, Port: 7000}, &net.UDPAddr{IP: net.IPv6zero, Port: 7001}
	of := func(o Options, at net.Addr) quicgo.StatelessResetKey { return *o.resetKey(at) }
	got := func(c *tls.Config, err error) func() (*tls.Config, error) {
		return func() (*tls.Config, error) { return c, err }
	}
	given := quicgo.StatelessResetKey{1}
	first := of(Options{TLS: a}, here)
	switch {
	case of(Options{StatelessResetKey: &given, TLS: a}, here) != given:
		t.Error("the user's key is not used")
	case first != of(Options{TLS: a}, here), first != of(Options{GetTLS: got(a, nil)}, here):
		t.Error("the key of a node changes")
	case first == of(Options{TLS: b}, here), first == of(Options{TLS: a}, there):
		t.Error("two nodes have one key")
	case first == quicgo.StatelessResetKey{}:
		t.Error("the key is guessable")
	}
	for _, o := range []Options{{TLS: &tls.Config{}}, {GetTLS: got(nil, errors.New("no file"))}, {TLS: a}} {
		at := net.Addr(here)
		if o.TLS == a {
			at = nil
		}
		if one, other := of(o, at), of(o, at); one == other || one == (quicgo.StatelessResetKey{}) {
			t.Error("a key that could not be derived is not random")
		}
	}
}

// TestReaches expects a socket to be used for what it can send to.
func TestReaches(t *testing.T) {
	for _, test := range []struct {
		local, to string
		want      bool
	}{
		{"::", "10.0.0.1", true},
		{"::", "fd00::1", true},
		{"0.0.0.0", "10.0.0.1", true},
		{"0.0.0.0", "fd00::1", false},
		{"127.0.0.1", "127.0.0.9", true},
		{"127.0.0.1", "10.0.0.1", false},
		{"::1", "::1", true},
		{"::1", "fd00::1", false},
		{"::1", "127.0.0.1", false},
		{"10.0.0.1", "10.9.9.9", true},
		{"10.0.0.1", "::ffff:10.9.9.9", true},
		{"fd00::1", "10.0.0.1", false},
	} {
		if got := reaches(netip.MustParseAddr(test.local), netip.MustParseAddr(test.to)); got != test.want {
			t.Errorf("from %s to %s: %v", test.local, test.to, got)
		}
	}
}

// TestPortIsFree expects the port of a listener to be free for everybody when
// listener and connections are closed and their peers have taken note, in either
// order.
func TestPortIsFree(t *testing.T) {
	for _, listenerFirst := range []bool{true, false} {
		ln, err := New(Options{TLS: devtls.Config("server")}).Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		to := transport.Peer{Name: "server", Addr: ln.Addr().String()}
		c, err := New(Options{TLS: devtls.Config("client")}).Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go c.ReadFrame(100)
		steps := []func() error{ln.Close, func() error { return s.CloseWithError(1, "over") }}
		if !listenerFirst {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			if err := step(); err != nil {
				t.Error(err)
			}
		}
		<-s.(*conn).gone
		pc, err := net.ListenPacket("udp", to.Addr)
		if err != nil {
			t.Fatalf("listener first %v: the port is still in use: %v", listenerFirst, err)
		}
		pc.Close()
		c.CloseWithError(0, "")
	}
}

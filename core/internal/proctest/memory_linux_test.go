package proctest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport/websocket"
)

// victim is a process that strangers and a peer attack, with a limit on its
// memory, and an honest peer of it.
type victim struct {
	t      testing.TB
	c      *child
	addr   string
	name   string
	honest *core.Connection // of the honest peer to it
	others []net.Listener   // of peers that are not there yet
	peers  []core.Node
}

// newVictim starts a process with an honest peer and a number of others that are
// known to it but do not run.
func newVictim(t testing.TB, others int) *victim {
	v := &victim{t: t, name: "victim", addr: holdPort(t).addr}
	for i := range others + 1 {
		ln := listenAnywhere(t)
		name := dialling("peer-"+strconv.Itoa(i), v.name)
		v.others = append(v.others, ln)
		v.peers = append(v.peers, core.Node{Name: name, Addr: ln.Addr().String()})
	}
	s := spec{Node: core.Node{Name: v.name, Addr: v.addr}, Peers: v.peers, MemoryLimit: 64 << 20}
	if !raceEnabled {
		// The race detector maps more than any limit would allow.
		s.MaxMoreAddressSpace = 1 << 30
	}
	v.c = startChild(t, s, nil)
	v.honest = v.peer(0, websocket.Options{}).Connection(v.name)
	for range 100 {
		mustCall(t, t.Context(), v.honest, "echo", make([]byte, 10_000))
	}
	return v
}

// peer starts one of the peers.
func (v *victim) peer(i int, opts websocket.Options) *host {
	return newHost(v.t, hostSetup{
		name: v.peers[i].Name, peers: []core.Node{{Name: v.name, Addr: v.addr}}, options: opts,
		config: func(cfg *core.Config) { cfg.MaxBackoff = 100 * time.Millisecond },
	}, v.others[i])
}

// dial connects a stranger.
func (v *victim) dial() net.Conn {
	v.t.Helper()
	nc, err := net.Dial("tcp", v.addr)
	if err != nil {
		v.t.Fatalf("a stranger cannot connect: %v", err)
	}
	return nc
}

// measure returns by how many bytes the resident memory of the victim rose above
// what it was before f, at most, while f ran.
func (v *victim) measure(f func()) int64 {
	v.t.Helper()
	pid := strconv.Itoa(v.c.cmd.Process.Pid)
	// The kernel's high-water mark begins anew.
	if err := os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0); err != nil {
		v.t.Fatalf("resetting the mark of memory failed: %v", err)
	}
	before := v.status("VmRSS")
	f()
	return v.status("VmHWM") - before
}

func (v *victim) status(field string) int64 {
	v.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.c.cmd.Process.Pid))
	if err != nil {
		v.t.Fatalf("the victim is gone: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			var kib int64
			if _, err := fmt.Sscan(value, &kib); err != nil {
				v.t.Fatalf("reading %q failed: %v", line, err)
			}
			return kib << 10
		}
	}
	v.t.Fatalf("the kernel does not tell %s", field)
	return 0
}

// checkAlive makes calls of the honest peer, whose connection has to be the one
// that it was.
func (v *victim) checkAlive(after string) {
	v.t.Helper()
	for i := range 100 {
		began := time.Now()
		if _, err := v.honest.Request(v.t.Context(), "echo", make([]byte, 1000), core.WithTimeout(patience)); err != nil {
			v.t.Fatalf("%s: call %d of an honest peer failed: %v", after, i, err)
		}
		if d := time.Since(began); d > slack {
			v.t.Errorf("%s: call %d of an honest peer took %v", after, i, d)
		}
	}
}

// upgrade is the request with which a websocket begins.
const upgrade = "GET " + websocket.DefaultPath + " HTTP/1.1\r\nHost: victim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + websocket.Subprotocol + "\r\n\r\n"

// upgraded takes nc through the opening handshake of a websocket. It reports
// false if the victim has no place for it.
func upgraded(t testing.TB, nc net.Conn) bool {
	t.Helper()
	io.WriteString(nc, upgrade)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatalf("a stranger got no answer to an upgrade: %v", err)
	}
	return resp.StatusCode == http.StatusSwitchingProtocols
}

// announce returns the 14 bytes that begin a masked binary frame of a length.
func announce(length uint64) []byte {
	b := append([]byte{0x82, 0xFF}, binary.BigEndian.AppendUint64(nil, length)...)
	return append(b, 0, 0, 0, 0)
}

// rise is what a victim may need for all attacks of a test together: a collector
// that runs a little later than else, not what was announced.
const rise = 8 << 20

// TestAnnouncedLengths announces frames of a terabyte and more to a process that
// may have little memory: as the first bytes of a connection, as a websocket that
// has said nothing yet, and as a peer that is known. Each time the connection is
// closed, and nothing else happens (D32, T1).
func TestAnnouncedLengths(t *testing.T) {
	v := newVictim(t, 1)
	lengths := []uint64{1 << 40, 1 << 62, math.MaxInt64, 1 << 63, math.MaxUint64}
	// A peer that has connected as it should, and then loses its mind.
	var mu sync.Mutex
	var last net.Conn
	mad := v.peer(1, websocket.Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		mu.Lock()
		defer mu.Unlock()
		last = nc
		return nc, err
	}})
	mustCall(t, t.Context(), mad.Connection(v.name), "echo", nil)

	grown := v.measure(func() {
		for _, length := range lengths {
			// That it is no request is known only when it gets no longer.
			raw := v.dial()
			defer raw.Close()
			raw.Write(announce(length))
			nc := v.dial()
			defer nc.Close()
			if !upgraded(t, nc) {
				t.Fatal("the victim has no place for one stranger")
			}
			nc.Write(announce(length))
			nc.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, nc); err != nil && os.IsTimeout(err) {
				t.Errorf("a stranger that announced %d bytes was not thrown out", length)
			}
			v.checkAlive(fmt.Sprintf("a stranger announced %d bytes", length))
			mad.awaitState(t, v.name, core.StateConnected)
			mu.Lock()
			known := last
			mu.Unlock()
			known.Write(announce(length))
			lost := mad.awaitState(t, v.name, core.StateConnecting)
			if lost.Err == nil || !strings.Contains(lost.Err.Error(), "closed by the peer") {
				t.Errorf("a peer that announced %d bytes was closed with: %v", length, lost.Err)
			}
			v.checkAlive(fmt.Sprintf("a peer announced %d bytes", length))
		}
	})
	if grown > rise {
		t.Errorf("the memory of the victim rose by %d KiB", grown>>10)
	}
	t.Logf("the memory of the victim rose by %d KiB", grown>>10)
}

// perStranger is what a victim may need for a connection that has not said who it
// is: a goroutine and buffers for its request, until it is thrown out.
const perStranger = 32 << 10

// TestIdleStrangers leaves 2000 connections idle at each stage of the handshake.
// The victim needs little memory for them, serves the peer that it has, and the
// next peer connects within a second (T3).
//
//nolint:tparallel // Its cases wait side by side; beside other tests they would disturb each other.
func TestIdleStrangers(t *testing.T) {
	const strangers = 2000
	stages := []struct {
		name string
		say  func(nc net.Conn)
	}{
		{"nothing sent", func(net.Conn) {}},
		{"half a request", func(nc net.Conn) { io.WriteString(nc, upgrade[:len(upgrade)/2]) }},
		{"upgraded", func(nc net.Conn) { upgraded(t, nc) }},
		{"half an INIT", func(nc net.Conn) {
			upgraded(t, nc)
			nc.Write(initFrame()[:20])
		}},
		{"INIT", func(nc net.Conn) {
			upgraded(t, nc)
			nc.Write(initFrame())
		}},
	}
	for _, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, 1)
			grown := v.measure(func() {
				for range strangers {
					nc := v.dial()
					defer nc.Close()
					stage.say(nc)
				}
				v.checkAlive("strangers are idle")
				began := time.Now()
				h := v.peer(1, websocket.Options{})
				h.awaitState(t, v.name, core.StateConnected)
				d := time.Since(began)
				t.Logf("a peer connected within %v", d)
				if d > time.Second+slack {
					t.Errorf("a peer connected only after %v, want at most 1s", d)
				}
				v.checkAlive("a peer joined")
			})
			t.Logf("the memory of the victim rose by %d KiB", grown>>10)
			if grown > strangers*perStranger && !raceEnabled {
				t.Errorf("the memory of the victim rose by %d KiB, want at most %d", grown>>10, strangers*perStranger>>10)
			}
		})
	}
}

// initFrame is a masked websocket frame with the INIT of a node.
func initFrame() []byte {
	payload := wire.AppendInit(nil, &wire.Init{MinVersion: wire.Version, MaxVersion: wire.Version})
	return bytes.Join([][]byte{{0x82, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload}, nil)
}

package core

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// sound is a configuration that nothing is wrong with.
func sound() Config {
	return Config{
		Cluster:   "test",
		Local:     Node{Name: "a", Addr: "addr-a"},
		Peers:     []Node{{"a", "addr-a"}, {"b", "addr-b"}, {"c", "addr-c"}},
		Transport: inmem.NewNetwork().Node("a"),
	}
}

func mustManager(t *testing.T, cfg Config) *Manager {
	t.Helper()
	m, err := NewManager(cfg)
	if err != nil {
		t.Fatalf("a sound configuration was refused: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// mentions holds an error to what a person needs to read in it.
func mentions(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got error %v, want it to mention %q", what, err, text)
		}
	}
}

// TestBadConfigurations expects of every mistake an error that names the field
// and the remedy.
func TestBadConfigurations(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		what    string
		spoil   func(*Config)
		mention []string
	}{
		{"no transport", func(c *Config) { c.Transport = nil }, []string{"Config.Transport", "set it to", "inmem.NewNetwork()"}},
		{"nothing at all", func(c *Config) { *c = Config{} }, []string{"Config.Transport"}},
		{"no address", func(c *Config) { c.Local.Addr = "" }, []string{"Config.Local.Addr", "set it", "Listen"}},
		{"no address and no name", func(c *Config) { c.Local = Node{} }, []string{"Config.Local.Addr", "set it"}},
		{"Listen alone", func(c *Config) { c.Local, c.Listen = Node{}, "x" }, []string{"Config.Local.Name", "name the node"}},
		{"long local name", func(c *Config) { c.Local.Name = long }, []string{"Config.Local.Name", "256 bytes", "at most 255"}},
		{"local address as a long name", func(c *Config) { c.Local = Node{Addr: long} }, []string{"Config.Local.Name", "at most 255"}},
		{"local name in no UTF-8", func(c *Config) { c.Local.Name = "\xff" }, []string{"Config.Local.Name", "UTF-8", "use text"}},
		{"long cluster", func(c *Config) { c.Cluster = long }, []string{"Config.Cluster", "256 bytes", "at most 255"}},
		{"cluster in no UTF-8", func(c *Config) { c.Cluster = "\xc3" }, []string{"Config.Cluster", "UTF-8", "use text"}},
		{"empty peer", func(c *Config) { c.Peers[1] = Node{} }, []string{"Config.Peers[1]", "neither Name nor Addr", "remove it"}},
		{"peer without an address", func(c *Config) { c.Peers[2].Addr = "" }, []string{"Config.Peers[2].Addr", `"c"`, "set the address"}},
		{"long peer name", func(c *Config) { c.Peers[1].Name = long }, []string{"Config.Peers[1].Name", "256 bytes", "at most 255"}},
		{"peer name in no UTF-8", func(c *Config) { c.Peers[1].Name = "b\xff" }, []string{"Config.Peers[1].Name", "UTF-8"}},
		{"a name twice", func(c *Config) { c.Peers[2].Name = "b" }, []string{"Config.Peers[2].Name", `"b"`, "Peers[1]", "unique"}},
		{"an address for a name twice", func(c *Config) { c.Peers[2] = Node{Addr: "b"} }, []string{"Config.Peers[2].Name", "Peers[1]", "unique"}},
		{"an address twice", func(c *Config) { c.Peers[2].Addr = "addr-b" }, []string{"Config.Peers[2].Addr", `"addr-b"`, "Peers[1]", "own"}},
		{"the local address again", func(c *Config) { c.Peers[2].Addr = "addr-a" }, []string{"Config.Peers[2].Addr", "Local", "own"}},
		{"small reassembly", func(c *Config) { c.MaxMessage, c.MaxReassembly = 2000, 1999 }, []string{"Config.MaxReassembly", "1999", "2000", "raise it"}},
		{"small reassembly against the default", func(c *Config) { c.MaxReassembly = 1000 }, []string{"Config.MaxReassembly", "MaxMessage", "raise it"}},
		{"two mistakes", func(c *Config) { c.MaxCalls, c.KeepAlive = -1, -1 }, []string{"Config.MaxCalls", "Config.KeepAlive"}},
	}
	for _, test := range tests {
		cfg := sound()
		test.spoil(&cfg)
		m, err := NewManager(cfg)
		if m != nil || err == nil {
			t.Errorf("%s: NewManager returned %v, %v, want an error alone", test.what, m, err)
			continue
		}
		mentions(t, test.what, err, test.mention...)
	}
}

// documentedDefaults lists what the comments of Config promise for zero values.
var documentedDefaults = []struct {
	field   string
	comment string
	want    int64
	most    int64
}{
	{"MaxMessage", "Default 16 MiB, at most 1 GiB", 16 << 20, 1 << 30},
	{"MaxCalls", "Default 262 144", 262_144, 1 << 24},
	{"MaxHandlers", "Default 1 000", 1000, 1 << 24},
	{"MaxHandlersTotal", "Default 10 000", 10_000, 1 << 24},
	{"MaxOutput", "Default 8 MiB", 8 << 20, 1 << 30},
	{"MaxReassembly", "Default 64 MiB, at least MaxMessage", 64 << 20, 1 << 30},
	{"StreamWindow", "Default 64 KiB", 64 << 10, 1 << 30},
	{"MaxStreamBuffers", "Default 64 MiB, at least StreamWindow", 64 << 20, 1 << 30},
	{"ConnectTimeout", "Default 5 s", int64(5 * time.Second), int64(time.Hour)},
	{"MaxBackoff", "Default 3 s", int64(3 * time.Second), int64(time.Hour)},
	{"KeepAlive", "Default 5 s", int64(5 * time.Second), int64(24 * time.Hour)},
	{"KeepAliveTimeout", "Default 5 s", int64(5 * time.Second), int64(24 * time.Hour)},
}

// TestLimitsAndDefaults holds every numeric field to its documented default and
// to its range, and finds fields that the table above lacks.
func TestLimitsAndDefaults(t *testing.T) {
	comments := configComments(t)
	typ, numbers := reflect.TypeFor[Config](), 0
	for f := range typ.Fields() {
		if f.Type.Kind() == reflect.Int || f.Type.Kind() == reflect.Int64 {
			numbers++
		}
	}
	if numbers != len(documentedDefaults) {
		t.Errorf("Config has %d limits and time-outs, this test knows %d", numbers, len(documentedDefaults))
	}
	zero := sound()
	if err := zero.normalize(); err != nil {
		t.Fatal(err)
	}
	for _, d := range documentedDefaults {
		if got := reflect.ValueOf(zero).FieldByName(d.field).Int(); got != d.want {
			t.Errorf("the zero value of Config.%s stands for %d, want %d", d.field, got, d.want)
		}
		if !strings.Contains(comments[d.field], d.comment) {
			t.Errorf("the comment of Config.%s does not say %q", d.field, d.comment)
		}
		for _, v := range []int64{-1, -1 << 63, d.most + 1, 1<<63 - 1} {
			cfg := sound()
			field := reflect.ValueOf(&cfg).Elem().FieldByName(d.field)
			if field.OverflowInt(v) {
				continue // an int of 32 bits
			}
			field.SetInt(v)
			_, err := NewManager(cfg)
			mentions(t, fmt.Sprintf("%s = %d", d.field, v), err, "Config."+d.field+" ", "use 0 for the default of", "up to")
		}
		for _, v := range []int64{1, d.most} {
			cfg := sound()
			cfg.MaxMessage, cfg.StreamWindow = 1, 1 // so that any memory will do
			reflect.ValueOf(&cfg).Elem().FieldByName(d.field).SetInt(v)
			if _, err := NewManager(cfg); err != nil {
				t.Errorf("%s = %d, which is in its range, was refused: %v", d.field, v, err)
			}
		}
	}
	big := sound()
	big.MaxMessage = 100 << 20
	if err := big.normalize(); err != nil || big.MaxReassembly != 100<<20 {
		t.Errorf("with MaxMessage 100 MiB the default of MaxReassembly is %d (error %v), want as much", big.MaxReassembly, err)
	}
	wide := sound()
	wide.StreamWindow = 100 << 20
	if err := wide.normalize(); err != nil || wide.MaxStreamBuffers != 100<<20 {
		t.Errorf("with StreamWindow 100 MiB the default of MaxStreamBuffers is %d (error %v), want as much", wide.MaxStreamBuffers, err)
	}
	wide = sound()
	wide.StreamWindow, wide.MaxStreamBuffers = 2, 1
	_, err := NewManager(wide)
	mentions(t, "MaxStreamBuffers below StreamWindow", err, "Config.MaxStreamBuffers", "StreamWindow (2)", "raise it")
}

// configComments returns the comments of the fields of Config.
func configComments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			out[f.Names[0].Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
		}
		return false
	})
	return out
}

// TestNamesAndAddresses checks what stands in for an empty name, and that the
// local node may be among the peers.
func TestNamesAndAddresses(t *testing.T) {
	cfg := sound()
	cfg.Local = Node{Addr: "addr-a"}
	cfg.Peers = []Node{{Addr: "addr-a"}, {Addr: "addr-b"}, {Addr: "addr-a"}, {"c", "addr-c"}}
	peers := cfg.Peers
	m := mustManager(t, cfg)
	var names []string
	for c := range m.Connections() {
		names = append(names, c.Peer())
	}
	if got := strings.Join(names, " "); got != "addr-b c" {
		t.Errorf("the peers are %q, want addr-b and c, in the order of the configuration without the local node", got)
	}
	if peers[1].Name != "" {
		t.Errorf("NewManager wrote to the caller's peers: %v", peers)
	}
	for host, want := range map[string]string{"addr-a": "addr-a", "c": "c", "addr-c": "c", "nobody": "nobody", "": ""} {
		if got := m.Connection(host).Peer(); got != want {
			t.Errorf("Connection(%q) is to %q, want %q", host, got, want)
		}
	}
	if m.Connection("c") != m.Connection("addr-c") {
		t.Error("name and address of a node give two connections")
	}
	// A name wins over an address, so nobody is reached by mistake.
	cfg = sound()
	cfg.Peers = []Node{{"b", "c"}, {"c", "b"}}
	if got := mustManager(t, cfg).Connection("b").address(); got != "c" {
		t.Errorf("Connection(%q) goes to the address %q, want that of the node with the name", "b", got)
	}
}

// TestBadRegistrations expects a helpful error of everything that cannot be
// registered.
func TestBadRegistrations(t *testing.T) {
	fn := func(context.Context, []byte) ([]byte, error) { return nil, nil }
	app := func(context.Context, []byte, []byte) ([]byte, error) { return nil, nil }
	m := mustManager(t, sound())
	both := func(what string, id HandlerID, opts []HandlerOption, texts ...string) {
		t.Helper()
		texts = append(texts, fmt.Sprintf("Handle %q", string(id)))
		mentions(t, what+" by Handle", m.Handle(id, fn, opts...), texts...)
		mentions(t, what+" by HandleAppend", m.HandleAppend(id, app, opts...), texts...)
	}
	mentions(t, "nil function by Handle", m.Handle("x", nil), `Handle "x"`, "nil", "HandlerFunc")
	mentions(t, "nil function by HandleAppend", m.HandleAppend("x", nil), `Handle "x"`, "nil", "appends to dst")
	both("empty id", "", nil, "0 bytes", "use 1 to 255")
	both("long id", HandlerID(strings.Repeat("x", 256)), nil, "256 bytes", "use 1 to 255")
	both("zero byte", "a\x00b", nil, "zero byte", "use text")
	both("nil option", "x", []HandlerOption{nil}, "option is nil", "leave it out")
	both("no time-out", "x", []HandlerOption{WithTimeout(0)}, "WithTimeout(0s)", "positive", "leave the option out")
	both("negative time-out", "x", []HandlerOption{WithTimeout(-1)}, "WithTimeout(-1ns)", "positive")
	both("no concurrency", "x", []HandlerOption{WithConcurrency(0)}, "WithConcurrency(0)", "use 1 to", "leave the option out")
	both("negative concurrency", "x", []HandlerOption{WithConcurrency(-5)}, "WithConcurrency(-5)", "use 1 to")
	both("huge concurrency", "x", []HandlerOption{WithConcurrency(1 << 30)}, "WithConcurrency(", "use 1 to")
	both("long route", "x", []HandlerOption{WithRoute(strings.Repeat("x", 256))}, "WithRoute", "256 bytes", "at most 255")
	both("id of the library", "gridmux.catalogue", nil, "belong to the library")
	both("id like one of the library", "gridmux.", nil, "belong to the library")
	if n := len(m.handlers.byHash); n != 1 {
		t.Errorf("%d handlers are registered, want the catalogue alone: the others were refused", n)
	}

	longest := strings.Repeat("y", 255)
	for _, err := range []error{
		m.Handle("x", fn),
		m.HandleAppend("x", app, WithRoute("r")),
		m.Handle("x", fn, WithRoute("R"), WithInline(), WithTimeout(1), WithConcurrency(1)),
		m.Handle(HandlerID(longest), fn, WithRoute(longest), WithConcurrency(limitMaxCalls)),
		m.Handle("\x01\xff", fn),
	} {
		if err != nil {
			t.Errorf("a sound registration was refused: %v", err)
		}
	}
	both("twice", "x", nil, "registered already", "another id or WithRoute")
	both("twice on a route", "x", []HandlerOption{WithRoute("r")}, `"x" on route "r" is registered already`, "another id")

	// Nobody finds two ids with the same hash, so one is forged.
	m.handlers.byHash[handlerKey{"z", "s"}.hash()] = &handler{id: "other", route: "there"}
	both("collision", "z", []HandlerOption{WithRoute("s")}, `"z" on route "s"`, "same hash", `"other" on route "there"`, "rename one of them")

	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	both("after Start", "new", nil, "started", "before Start")
	m.Close()
	both("after Close", "new", nil, "started", "before Start")
	for _, none := range []*Manager{nil, {}} {
		if err := none.Handle("x", fn); !errors.Is(err, ErrNotStarted) {
			t.Errorf("Handle on a Manager that is none: %v, want ErrNotStarted", err)
		}
		mentions(t, "HandleAppend on a Manager that is none", none.HandleAppend("x", app), "NewManager")
	}
}

// TestOptionsAreReused uses the same option values in many registrations and
// calls: nothing of one use may show in another.
func TestOptionsAreReused(t *testing.T) {
	cfg := sound()
	cfg.Peers = nil
	m := mustManager(t, cfg)
	deadline := func(ctx context.Context, _ []byte) ([]byte, error) {
		if _, ok := ctx.Deadline(); ok {
			return []byte("deadline"), nil
		}
		return []byte("none"), nil
	}
	timeout, one := WithTimeout(time.Minute), WithConcurrency(1)
	if err := errors.Join(m.Handle("a", deadline, timeout, one), m.Handle("b", deadline, one), m.Handle("c", deadline)); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts := []CallOption{timeout, WaitForConnection(), timeout}
	for range 100 {
		for id, want := range map[HandlerID]string{"a": "deadline", "b": "none", "c": "none"} {
			if got, err := m.Connection("a").Request(t.Context(), id, nil); err != nil || string(got) != want {
				t.Fatalf("handler %s saw %q, %v, want %q", id, got, err, want)
			}
			if got, err := m.Connection("a").Request(t.Context(), id, nil, opts...); err != nil || string(got) != "deadline" {
				t.Fatalf("handler %s called with a time-out saw %q, %v", id, got, err)
			}
		}
	}
	for _, bad := range []struct {
		what string
		id   HandlerID
		opt  CallOption
		text string
	}{
		{"nil option", "a", nil, "leave it out"},
		{"no time-out", "a", WithTimeout(0), "positive"},
		{"negative time-out", "a", WithTimeout(-time.Hour), "positive"},
		{"empty id", "", timeout, "use 1 to 255"},
		{"long id", HandlerID(strings.Repeat("x", 256)), timeout, "use 1 to 255"},
	} {
		_, err := m.Connection("a").Request(t.Context(), bad.id, nil, bad.opt)
		mentions(t, bad.what, err, bad.text)
		if OutcomeOf(err) != OutcomeNotSent {
			t.Errorf("%s: outcome %v of %v, want not sent", bad.what, OutcomeOf(err), err)
		}
	}
	_, err := m.Connection("a").Route(strings.Repeat("r", 200)).Route(strings.Repeat("r", 55)).Request(t.Context(), "a", nil)
	mentions(t, "a long route", err, "256 bytes", "at most 255")
}

// TestStartRefusals covers what Start refuses and what Addr says.
func TestStartRefusals(t *testing.T) {
	network := inmem.NewNetwork()
	node := func(name string, change func(*Config)) *Manager {
		cfg := sound()
		cfg.Local, cfg.Peers, cfg.Transport = Node{name, "addr-" + name}, nil, network.Node(name)
		if change != nil {
			change(&cfg)
		}
		return mustManager(t, cfg)
	}
	m := node("a", nil)
	if got := m.Addr(); got != "" {
		t.Errorf("before Start the address is %q, want none", got)
	}
	mentions(t, "Start without a context", m.Start(nil), "context is nil") //nolint:staticcheck // It is what is tested.
	if err := m.Start(t.Context()); err != nil {
		t.Fatalf("a Start without a context must not count, but then: %v", err)
	}
	if got := m.Addr(); got != "addr-a" {
		t.Errorf("the address is %q, want that of Config.Local", got)
	}
	mentions(t, "Start twice", m.Start(t.Context()), "started already")
	if _, err := m.Connection("a").Request(t.Context(), "none", nil); !errors.Is(err, ErrUnknownHandler) {
		t.Errorf("after a second Start a call fails with %v, want an unknown handler", err)
	}

	taken := node("b", func(cfg *Config) { cfg.Listen = "addr-a" })
	mentions(t, "address in use", taken.Start(t.Context()), "gridmux: Start", `"addr-a"`)
	if got := taken.Connection("b").State(); got != StateClosed {
		t.Errorf("after a Start that failed the state is %v, want closed", got)
	}
	if err := taken.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after one that failed: %v, want ErrClosed", err)
	}
	if _, err := taken.Connection("b").Request(t.Context(), "x", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after a Start that failed: %v, want ErrClosed", err)
	}

	elsewhere := node("c", func(cfg *Config) { cfg.Listen = "bound" })
	if err := elsewhere.Start(t.Context()); err != nil || elsewhere.Addr() != "bound" {
		t.Errorf("with Listen the node is at %q (error %v), want what Listen says", elsewhere.Addr(), err)
	}
	closed := node("d", nil)
	if err := closed.Close(); err != nil {
		t.Errorf("Close before Start: %v", err)
	}
	err := closed.Start(t.Context())
	mentions(t, "Start after Close", err, "make a new Manager")
	if !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v, want ErrClosed", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := node("e", nil).Start(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with a context that is over: %v, want context.Canceled", err)
	}
	if c, err := network.Node("x").Dial(t.Context(), transport.Peer{Addr: "addr-e"}); err == nil {
		c.CloseWithError(0, "")
		t.Error("a node whose Start failed listens")
	}
	m.Close()
	if _, err := network.Node("y").Listen(t.Context(), m.Addr()); err != nil {
		t.Errorf("the address of a closed node is not free: %v", err)
	}
	if err := m.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}

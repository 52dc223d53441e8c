package compression_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// switchOn is the line of the README that switches compression on.
func switchOn(m *core.Manager) error {
	return m.HandleAppend("storage.list", list, core.WithCompression(compress.S2()))
}

// show is the other line of the README.
func show(m *core.Manager) {
	fmt.Println(m.Stats().Compression)
}

// list returns the names of some files.
func list(_ context.Context, _, dst []byte) ([]byte, error) {
	for i := range 100 {
		dst = fmt.Appendf(dst, "backups/2026/11/part.%03d\n", i)
	}
	return dst, nil
}

// A node that has done nothing yet has saved nothing.
func Example_nothing() {
	show(new(core.Manager))
	// Output:
	// []
}

// Two nodes of which both have a handler with compression, and what it saves one of
// them.
func Example() {
	nodes := []core.Node{{Name: "a", Addr: "a"}, {Name: "b", Addr: "b"}}
	network := inmem.NewNetwork()
	start := func(local core.Node) *core.Manager {
		m, err := core.NewManager(core.Config{Local: local, Peers: nodes, Transport: network.Node(local.Name)})
		if err != nil {
			log.Fatal(err)
		}
		if err := switchOn(m); err != nil {
			log.Fatal(err)
		}
		if err := m.Start(context.Background()); err != nil {
			log.Fatal(err)
		}
		return m
	}
	a, b := start(nodes[0]), start(nodes[1])
	defer a.Close()
	defer b.Close()

	resp, err := a.Connection("b").Request(context.Background(), "storage.list", nil, core.WaitForConnection())
	fmt.Println(len(resp), err)
	saved := a.Stats().Compression[0]
	fmt.Println(saved.Handler, saved.Responses.Received.Messages, saved.Saved() > int64(len(resp)/2))
	// Output:
	// 2500 <nil>
	// storage.list 1 true
}

// A stream of small messages that resemble one another: each refers to those before
// it.
func Example_sharedWindow() {
	nodes := []core.Node{{Name: "a", Addr: "a"}, {Name: "b", Addr: "b"}}
	network := inmem.NewNetwork()
	start := func(local core.Node) *core.Manager {
		m, err := core.NewManager(core.Config{Local: local, Peers: nodes, Transport: network.Node(local.Name)})
		if err != nil {
			log.Fatal(err)
		}
		if err := m.HandleStreamFunc("log.tail", tail, core.WithCompression(compress.Zstd()), core.WithSharedWindow()); err != nil {
			log.Fatal(err)
		}
		if err := m.Start(context.Background()); err != nil {
			log.Fatal(err)
		}
		return m
	}
	a, b := start(nodes[0]), start(nodes[1])
	defer a.Close()
	defer b.Close()

	s, err := a.Connection("b").OpenStream(context.Background(), "log.tail", nil, core.WaitForConnection())
	if err != nil {
		log.Fatal(err)
	}
	lines := 0
	for _, err := range s.All() {
		if err != nil {
			log.Fatal(err)
		}
		lines++
	}
	got := a.Stats().Compression[0].Responses.Received
	fmt.Println(lines, got.Packed < got.Plain/4)
	// Output: 1000 true
}

// tail sends some lines of a log.
func tail(_ context.Context, _ []byte, s *core.RawStream) error {
	for i := range 1000 {
		line := fmt.Sprintf("2026-11-26T14:06:%02d level=info msg=\"part written\" bucket=backups part=%d", i%60, i)
		if err := s.Send([]byte(line)); err != nil {
			return err
		}
	}
	return nil
}

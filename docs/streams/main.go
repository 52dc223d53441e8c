// Command streams is the program of the README's section on streams: one node
// that serves a download, an upload and a web page, and another that uses them.
// Everything runs over the one connection that the two nodes have anyway.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// download sends as many messages as it has; its return ends the stream.
func download(_ context.Context, payload []byte, s *core.RawStream) error {
	for i := range 3 {
		if err := s.Send(fmt.Appendf(nil, "%s %d", payload, i)); err != nil {
			return err // the caller has gone
		}
	}
	return nil
}

// upload takes messages until the caller says that it is done, and answers.
func upload(_ context.Context, _ []byte, s *core.RawStream) error {
	total := 0
	for msg, err := range s.All() {
		if err != nil {
			return err // not everything has arrived
		}
		total += len(msg)
	}
	return s.Send(fmt.Appendf(nil, "%d bytes arrived", total))
}

func page(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "this is a page of b")
}

func main() {
	ctx := context.Background()
	nodes := []core.Node{{Name: "a", Addr: "127.0.0.1:9001"}, {Name: "b", Addr: "127.0.0.1:9002"}}
	network := inmem.NewNetwork()
	manager := func(local core.Node) *core.Manager {
		m, err := core.NewManager(core.Config{Local: local, Peers: nodes, Transport: network.Node(local.Name)})
		check(err)
		return m
	}

	// b serves.
	b := manager(nodes[1])
	defer b.Close()
	check(b.HandleStreamFunc("download", download))
	check(b.HandleStreamFunc("upload", upload))
	ln, err := b.Listener("web")
	check(err)
	server := http.Server{Handler: http.HandlerFunc(page), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(ln) }() // until b is closed
	check(b.Start(ctx))

	// a calls.
	a := manager(nodes[0])
	defer a.Close()
	check(a.Start(ctx))
	toB := a.Connection("b")
	check(toB.WaitConnected(ctx))

	down, err := toB.OpenStream(ctx, "download", []byte("part"))
	check(err)
	for msg, err := range down.All() {
		check(err) // no error: it is all there
		fmt.Printf("%s\n", msg)
	}

	up, err := toB.OpenStream(ctx, "upload", nil)
	check(err)
	_, err = io.Copy(up.Conn(), strings.NewReader(strings.Repeat("x", 100_000)))
	check(err)
	check(up.CloseSend())
	answer, err := up.Recv(nil)
	check(err)
	fmt.Printf("%s\n", answer)

	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return toB.Dial(ctx, "web") },
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://b/", http.NoBody)
	check(err)
	resp, err := client.Do(req)
	check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(err)
	fmt.Printf("%s\n", body)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

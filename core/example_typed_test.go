package core_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/gridmux/gridmux/core"
)

//go:generate go tool -modfile=../.ci/tools/go.mod msgp -io=false -tests=false -o=example_typed_gen_test.go

//msgp:limit arrays:65536 maps:16 marshal:true

// ListRequest asks for the keys with a prefix.
type ListRequest struct {
	Prefix string
}

// Entry is a key with its version.
type Entry struct {
	Key     string
	Version uint64
}

var (
	List = core.NewServerStream[ListRequest, Entry]("kv.list", core.WithCapacity(0, 16))
	Load = core.NewBidi[ListRequest, Entry, Entry]("kv.load")
)

// A handler that sends typed messages, which the caller ranges over. To leave the
// loop cancels the handler.
func ExampleNewServerStream() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		return List.Handle(m, func(_ context.Context, req *ListRequest, send func(*Entry) error) error {
			for version := uint64(1); ; version++ {
				entry := Entry{Key: fmt.Sprint(req.Prefix, version), Version: version}
				if err := send(&entry); err != nil {
					return err // the caller has left
				}
			}
		})
	})
	defer stop()

	for entry, err := range List.Call(context.Background(), conn, &ListRequest{Prefix: "disk/"}) {
		if err != nil {
			log.Fatal(err) // comes last
		}
		fmt.Println(entry.Key)
		if entry.Version == 3 {
			break
		}
	}
	// Output:
	// disk/1
	// disk/2
	// disk/3
}

// Typed messages in both directions: the caller sends entries, the handler sends
// back those that it did not have.
func ExampleNewBidi() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		known := map[string]uint64{"disk/1": 5, "disk/2": 5}
		return Load.Handle(m, func(_ context.Context, req *ListRequest, s *core.TypedStream[Entry, Entry]) error {
			for entry, err := range s.All() {
				if err != nil {
					return err // not all of it has arrived
				}
				if entry.Version <= known[req.Prefix+entry.Key] {
					continue
				}
				if err := s.Send(entry); err != nil {
					return err
				}
			}
			return nil
		})
	})
	defer stop()

	s, err := Load.Open(context.Background(), conn, &ListRequest{Prefix: "disk/"})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, entry := range []Entry{{"1", 4}, {"2", 6}, {"3", 1}} {
		if err := s.Send(&entry); err != nil {
			log.Fatal(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		log.Fatal(err)
	}
	for {
		entry, err := s.Recv()
		if err == io.EOF {
			break // the handler has returned nil
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(entry.Key, entry.Version)
	}
	// Output:
	// 2 6
	// 3 1
}

// A caller that minds its memory: CallInto writes to a response that is used again.
func ExampleUnary_CallInto() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		return Get.Handle(m, func(_ context.Context, req *GetRequest) (*GetResponse, error) {
			return &GetResponse{Value: []byte(req.Key)}, nil
		})
	})
	defer stop()

	var resp GetResponse
	for _, key := range []string{"one", "two"} {
		if err := Get.CallInto(context.Background(), conn, &GetRequest{Key: key}, &resp); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", resp.Value) // until the next call
	}
	// Output:
	// one
	// two
}

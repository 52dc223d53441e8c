package payload_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"slices"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/payload"
	"github.com/gridmux/gridmux/transport/inmem"
)

// oneNode starts a node that serves what register says, and returns its connection
// to itself, over which calls are like those to any other.
func oneNode(register func(m *core.Manager) error) (self *core.Connection, stop func()) {
	m, err := core.NewManager(core.Config{
		Local: core.Node{Name: "a", Addr: "a:1"}, Transport: inmem.NewNetwork().Node("a"),
	})
	if err == nil {
		err = errors.Join(register(m), m.Start(context.Background()))
	}
	if err != nil {
		log.Fatal(err)
	}
	return m.Connection("a"), func() { _ = m.Close() }
}

// Disks has an alias since Go cannot infer the second type.
type Disks = payload.Array[payload.Strings, *payload.Strings]

// Usage has no generated methods; package encoding/json does for it.
type Usage struct {
	Disk string `json:"disk"`
	Free int64  `json:"free"`
}

var (
	List     = core.NewUnary[payload.None, Disks]("disk.list")
	Read     = core.NewServerStream[payload.Strings, payload.Bytes]("disk.read")
	Wipe     = core.NewUnary[payload.Strings, payload.None]("disk.wipe")
	GetUsage = core.NewUnary[payload.Values, payload.JSON[Usage]]("disk.usage")
)

// A list comes back, whose elements have any type that is a message; here maps.
func ExampleArray() {
	conn, stop := oneNode(func(m *core.Manager) error {
		return List.Handle(m, func(context.Context, *payload.None) (*Disks, error) {
			return &Disks{{"name": "d1", "rack": "7"}, {"name": "d2"}}, nil
		})
	})
	defer stop()

	disks, err := List.Call(context.Background(), conn, &payload.None{})
	if err != nil {
		log.Fatal(err)
	}
	for _, disk := range *disks { // a slice like any other
		fmt.Printf("%s in rack %q\n", disk["name"], disk["rack"])
	}
	// Output:
	// d1 in rack "7"
	// d2 in rack ""
}

// Named parameters there, bytes back, in as many messages as it takes.
func ExampleStrings() {
	conn, stop := oneNode(func(m *core.Manager) error {
		return Read.Handle(m, func(_ context.Context, req *payload.Strings, send func(*payload.Bytes) error) error {
			for part := range slices.Chunk(payload.Bytes("contents of "+(*req)["path"]), 10) {
				if err := send(&part); err != nil {
					return err
				}
			}
			return nil
		})
	})
	defer stop()

	for part, err := range Read.Call(context.Background(), conn, &payload.Strings{"disk": "d1", "path": "/a"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", *part)
	}
	// Output:
	// contents o
	// f /a
}

// A method whose only answer is that it has been done.
func ExampleNone() {
	conn, stop := oneNode(func(m *core.Manager) error {
		return Wipe.Handle(m, func(_ context.Context, req *payload.Strings) (*payload.None, error) {
			if (*req)["disk"] == "" {
				return nil, core.Refuse(errors.New("which disk?"))
			}
			return &payload.None{}, nil // nil would be an answer that was forgotten
		})
	})
	defer stop()

	_, err := Wipe.Call(context.Background(), conn, &payload.Strings{"disk": "d1"})
	fmt.Println(err)
	_, err = Wipe.Call(context.Background(), conn, &payload.Strings{})
	fmt.Println(core.OutcomeOf(err))
	// Output:
	// <nil>
	// refused
}

// A type that has JSON already, asked for with the query of an HTTP request as it
// is.
func ExampleJSON() {
	conn, stop := oneNode(func(m *core.Manager) error {
		return GetUsage.Handle(m, func(_ context.Context, req *payload.Values) (*payload.JSON[Usage], error) {
			return &payload.JSON[Usage]{Value: Usage{Disk: url.Values(*req).Get("disk"), Free: 100}}, nil
		})
	})
	defer stop()

	query, err := url.ParseQuery("disk=d1&verbose")
	if err != nil {
		log.Fatal(err)
	}
	request := payload.Values(query)
	usage, err := GetUsage.Call(context.Background(), conn, &request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", usage.Value)
	// Output: {Disk:d1 Free:100}
}

package main

import "strings"

// label is what a contender is called in README, and the module whose version stands there.
type label struct{ name, module string }

const perCaller = ", a stream per caller"

// labels are of the contenders in README. What is after a comma says how they carry several
// calls at once where it is not over one connection as the library means it.
var labels = map[string]label{
	"ours":          {name: "**gridmux** over websocket"},
	"ours-request":  {name: "**gridmux** over websocket, with `Request`"},
	"ours-quic":     {name: "**gridmux** over QUIC"},
	"ours-wss":      {name: "**gridmux** over websocket with TLS"},
	"ours-inmem":    {name: "**gridmux** over inmem"},
	"ours-chan":     {name: "**gridmux** over websocket, with channels"},
	"ideal-go":      {name: "bare multiplexer"},
	"floor-tcp":     {name: "bare TCP, a connection per caller"},
	"floor-tcp-buf": {name: "bare TCP, a connection per stream"},
	"ws":            {name: "websocket of gobwas/ws, a connection per caller", module: "github.com/gobwas/ws"},
	"grpc-raw":      {name: "grpc-go", module: "google.golang.org/grpc"},
	"connect":       {name: "connect-go", module: "connectrpc.com/connect"},
	"drpc-pool":     {name: "drpc, a connection per caller", module: "storj.io/drpc"},
	"ttrpc":         {name: "ttrpc", module: "github.com/containerd/ttrpc"},
	"netrpc-raw":    {name: "net/rpc"},
	"yamux":         {name: "yamux" + perCaller, module: "github.com/hashicorp/yamux"},
	"smux":          {name: "smux" + perCaller, module: "github.com/xtaci/smux"},
	"smux-buf":      {name: "smux", module: "github.com/xtaci/smux"},
	"nats":          {name: "nats.go, by way of a NATS server", module: "github.com/nats-io/nats.go"},
	"quic":          {name: "quic-go" + perCaller, module: "github.com/quic-go/quic-go"},
}

// modules are those whose versions a run notes.
func modules() (all []string) {
	for _, l := range labels {
		if l.module != "" {
			all = append(all, l.module)
		}
	}
	return all
}

// label is what a contender is called, with its version if the run has noted it.
func (f *found) label(contender string) string {
	l := labels[contender]
	version := strings.TrimPrefix(f.run.Versions[l.module], "v")
	if version == "" {
		return l.name
	}
	name, how, split := strings.Cut(l.name, ", ")
	name += " " + version
	if split {
		name += ", " + how
	}
	return name
}

// short is the label without how it carries several calls.
func (f *found) short(contender string) string {
	name, _, _ := strings.Cut(f.label(contender), ", ")
	return name
}

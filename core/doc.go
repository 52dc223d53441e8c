// Package core carries the traffic between the nodes of one clustered service.
//
// Every node makes a [Manager], which knows its own address and all its peers.
// Between any two nodes there is exactly one logical two-way connection, with
// no client and no server: over it either side calls the handlers of the other.
// A call is a single request, bytes to bytes, in the shape of a function call, or
// a stream: an initial payload, then messages in both directions until the
// handler returns.
//
// # Lifecycle
//
// [NewManager] checks the configuration, [Manager.Handle] registers handlers,
// [Manager.Start] binds and begins to connect, and [Manager.Connection] gives
// the durable handle to a peer. Links come and go beneath it: whatever breaks
// is dialled again, and calls can be made whenever [Connection.State] says
// connected. [Manager.Shutdown] finishes the calls in progress first,
// [Manager.Close] does not.
//
// The transport is chosen in [Config]: websocket between processes, inmem in a
// test. Nothing else changes with it.
//
// # Members
//
// A node is identified by its name. Nodes prove to each other who they are when
// they connect, by Config.Auth or by mutual TLS; see [SharedKey] and [NodeKeys].
// A handler is told who calls by [CallerFromContext], and [WithAuthorization] says who
// may.
// Between two nodes at most one connection takes calls, whichever side made it,
// and a second process with the name of a node that lives is refused.
// [Manager.SetPeers] changes who belongs to the cluster at any time.
//
// A node that goes away by Shutdown tells its peers. Calls in progress finish,
// those that it does not take any more fail as not sent or refused, and a
// successor with the same name is connected as soon as it is there. Callers that
// repeat what [OutcomeOf] calls safe lose nothing when a cluster is restarted
// node by node.
//
// # Compression
//
// Messages are compressed where a handler or a call asks for it by
// [WithCompression], with a [Compressor] such as those of package compress, and only
// as far as the other node has it too. [Stats] tells what it has saved.
//
// # What a call promises
//
// A call returns exactly once, with the answer to its own request or with an
// error, and at the latest when its context ends, its [WithTimeout] is over or
// the connection is lost, even if the peer has stopped reading. Cancellation and
// deadlines travel to the handler. A handler runs at most once per call;
// nothing is repeated behind the caller's back.
//
// An error says whether the handler may have run: see [Outcome]. A
// *[RemoteError] is the handler's own answer; every other failure is a
// *[CallError], also that of a handler which says by [Refuse] that it has done
// nothing. The sentinels, such as [ErrDisconnected], are found with
// errors.Is.
//
// # Streams
//
// [Connection.OpenStream] and [Manager.HandleStreamFunc] give both ends a
// [RawStream] with Send and Recv; [Connection.NewStream] and
// [Manager.HandleStream] give channels instead. Each direction is ended by
// itself, in order: what the handler sent before it returned arrives before its
// error, or before the end, which is [io.EOF] and means that nothing is missing.
// Whoever sends waits while the other end has as much as it takes, in messages
// and in bytes, and holds nothing else up. [RawStream.Conn], [Manager.Listener]
// and [Connection.Dial] carry any protocol that wants a net.Conn.
//
// # Typed methods
//
// [NewUnary], [NewServerStream] and [NewBidi] declare a call, a stream from the
// handler and a stream in both directions with the types of their messages, which
// the tool msgp generates methods for (go get -tool github.com/tinylib/msgp). A
// declaration is a package variable that both sides use: one registers with Handle,
// the other calls.
//
//	//go:generate go tool msgp -io=false -tests=false
//
//	//msgp:limit arrays:1024 maps:256 marshal:true
//
//	type StatRequest struct{ Path string }
//	type StatResponse struct{ Size int64 }
//
//	var Stat = core.NewUnary[StatRequest, StatResponse]("storage.stat")
//
// The limits keep a hostile message from taking memory; see package payload. A
// field may be added: MessagePack names them, and what one side does not know it
// passes over. A message that is not of the type is [ErrMalformedMessage], nil where
// a message has to be [ErrNilMessage].
//
// # Calls to many
//
// [Each] asks all peers, or a chosen set, and yields the results as they arrive;
// [First] waits for one success, [Quorum] for so many, and [Hedged] asks the
// next peer when one is slow. They take any function that makes a call. Whoever is
// not waited for any more is cancelled, and nothing is left behind.
//
// # Ownership
//
// There is no buffer to give back. A request is the handler's until it returns.
// What is passed to Request may be used again when it has returned, and what it
// returned belongs to the caller. The contexts of handlers are never reused.
//
// # Limits
//
// Every queue and table is bounded, by the fields of [Config]: message size,
// calls in progress, handlers at once, bytes queued, bytes being put together.
// What is over a limit fails, or is refused, at once and says so. Callers wait
// only for room in the queue towards a peer, for the memory that a large message
// needs at the other end, and streams for their reader, each with its own
// context. A message over 32 KiB is sent in parts between which small calls pass;
// [WithPriority] says what goes first, and [Manager.Stats] what waits for whom.
//
// # Compatibility
//
// Handlers have no versions: an incompatible change is a new handler beside the
// old one, "storage.stat2". An incompatible change of the protocol itself is a
// new request path or ALPN name beside the old one. PROTOCOL.md specifies the
// bytes.
package core

// Package suite has no code but tests: those that hold the behaviour of package
// core over every transport. They have directories of their own because a user's
// go.sum also lists what the tests beside an imported package need, and a user of
// core shall not see the websocket library.
//
// Tests of calls, errors and limits are here, the others in packages below, each
// of which ends within 30 seconds: sessions, protocol, threats and cost, and for
// streams streams, streamprotocol, streamload, streamcost and netstream. What they
// share is in package lab, whose documentation says how such a test looks.
package suite

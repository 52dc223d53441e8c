// Package lanes has no code but tests of package core: of sessions whose links have
// lanes, of which calls go over which, of drains, and of their ends. They run over
// the lanes of package inmem, which share one link but keep the contract; that all
// other behaviour is the same with lanes is for the suites beside this one, which
// run over such links with -heavy, and for the simulator.
package lanes

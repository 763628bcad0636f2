package main

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

const keysMax = 8

type entry struct {
	present bool
	value   int64
	// 0: of a commit of whose version nobody was told.
	version int64
}

// state: what the ledger holds. Comparable, so that porcupine may compare states as they are.
type state struct {
	// The newest commit whose version is known.
	version int64
	entries [keysMax]entry
}

// model: where nobody knows whether an operation has happened, the ledger is in one of several states.
var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{state{}} },
	Step: func(before, input, _ any) []any {
		var after []any
		for _, s := range step(before.(state), input.(*operation)) {
			after = append(after, s)
		}
		return after
	},
	DescribeOperation: func(input, _ any) string { return input.(*operation).String() },
	DescribeState:     func(s any) string { return s.(state).String() },
}).ToModel()

// step: the states that the operation may leave if it takes effect in this one; none if it cannot.
func step(s state, o *operation) []state {
	switch o.outcome {
	case "read":
		if s.version >= o.atLeast && (o.before == 0 || s.version < o.before) && s.shows(o.reads) {
			return []state{s}
		}
	case "conflict":
		if !s.meets(o.checks) {
			return []state{s}
		}
	case "committed":
		// Versions are the order of commits.
		if s.version == o.previous && s.shows(o.reads) && s.meets(o.checks) {
			return []state{s.with(o)}
		}
	case "unknown":
		return []state{s, s.with(o)}
	}
	return nil
}

func (s state) shows(reads []observation) bool {
	for _, r := range reads {
		e := s.entries[r.Key]
		if e.present != (r.Value != nil) {
			return false
		}
		if e.present && (e.value != *r.Value || r.Version != nil && e.version != *r.Version) {
			return false
		}
	}
	return true
}

func (s state) meets(checks []check) bool {
	for _, c := range checks {
		e := s.entries[c.Key]
		if e.present != (c.Version != 0) || e.present && e.version != c.Version {
			return false
		}
	}
	return true
}

// with: operations in order, each on what those before it leave; all under one version.
func (s state) with(o *operation) state {
	for _, c := range o.changes {
		e := s.entries[c.Key]
		value := c.Value
		if e.present {
			switch c.Kind {
			case "sum":
				value += e.value
			case "min":
				value = min(value, e.value)
			case "max":
				value = max(value, e.value)
			}
		}
		if c.Kind == "delete" {
			s.entries[c.Key] = entry{}
		} else {
			s.entries[c.Key] = entry{present: true, value: value, version: o.version}
		}
	}
	if o.version != 0 {
		s.version = o.version
	}
	return s
}

func (s state) String() string {
	var parts []string
	for key, e := range s.entries {
		if e.present {
			parts = append(parts, fmt.Sprintf("%d: %d @ %d", key, e.value, e.version))
		}
	}
	return fmt.Sprintf("at %d: {%s}", s.version, strings.Join(parts, ", "))
}

func (o *operation) String() string {
	parts := []string{o.id, o.kind}
	for _, r := range o.reads {
		text := fmt.Sprintf("read %d: nothing", r.Key)
		if r.Value != nil {
			text = fmt.Sprintf("read %d: %d", r.Key, *r.Value)
		}
		if r.Value != nil && r.Version != nil {
			text += fmt.Sprintf(" @ %d", *r.Version)
		}
		parts = append(parts, text)
	}
	for _, c := range o.checks {
		parts = append(parts, fmt.Sprintf("check %d @ %d", c.Key, c.Version))
	}
	for _, c := range o.changes {
		parts = append(parts, fmt.Sprintf("%s %d: %d", c.Kind, c.Key, c.Value))
	}
	if o.kind == "read" && !o.strong {
		parts = append(parts, "maybe stale")
	}
	if o.atLeast != 0 {
		parts = append(parts, fmt.Sprintf("at least %d", o.atLeast))
	}
	if o.before != 0 {
		parts = append(parts, fmt.Sprintf("before %d", o.before))
	}
	return fmt.Sprintf("%s -> %s %d", strings.Join(parts, ", "), o.outcome, o.version)
}

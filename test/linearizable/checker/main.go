// Command checker reads histories of calls to a database that several processes made at once, and has porcupine look for one order of all of them
// in which each call takes effect between its begin and its end and finds what it was told. One line of JSON for each history.
//
//	checker [-timeout 60s] [-html FILE] HISTORY...
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

type verdict struct {
	History string `json:"history"`
	// "ok", "violation" or "unknown"
	Result     string   `json:"result"`
	Operations int      `json:"operations"`
	Unknown    int      `json:"unknown"`
	Why        []string `json:"why,omitempty"`
	Ms         int64    `json:"ms"`
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "for each history")
	html := flag.String("html", "", "where to draw a history that is no good")
	flag.Parse()
	for _, path := range flag.Args() {
		h, err := readHistory(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(2)
		}
		began := time.Now()
		v := h.judge(*timeout, *html)
		v.History, v.Ms = path, time.Since(began).Milliseconds()
		line, _ := json.Marshal(v)
		fmt.Println(string(line))
	}
}

func (h *history) judge(timeout time.Duration, html string) verdict {
	v := verdict{Operations: len(h.operations), Result: "ok"}
	for _, o := range h.operations {
		if o.outcome == "unknown" {
			v.Unknown++
		}
	}
	v.Why = h.settle()
	for _, operations := range h.split() {
		why, undecided := explain(operations, timeout)
		if undecided {
			v.Result = "unknown"
		}
		if why != "" {
			v.Why = append(v.Why, why)
			draw(operations, timeout, html)
		}
	}
	if len(v.Why) > 0 {
		v.Result = "violation"
	}
	return v
}

// explain says why there is no order of the operations, or that it could not be decided whether there is. Where versions alone show that there is none,
// porcupine has to come to the same without them.
func explain(operations []*operation, timeout time.Duration) (why string, undecided bool) {
	contradiction, spans := bind(operations), recorded
	if contradiction == "" {
		if guessed := guess(operations); guessed != nil && hasOrder(operations, spansOf(guessed), timeout) == porcupine.Ok {
			return "", false
		}
		spans = narrowed
	}
	switch hasOrder(operations, spans, timeout) {
	case porcupine.Illegal:
		return strings.TrimSuffix("there is no order of the operations: "+contradiction, ": "), false
	case porcupine.Unknown:
		return contradiction, contradiction == ""
	}
	if contradiction != "" {
		return "there is an order, and the checker takes it for impossible: " + contradiction, false
	}
	return "", false
}

func hasOrder(operations []*operation, spanOf func(*operation) span, timeout time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, asPorcupine(operations, spanOf), timeout)
}

// split: each key by itself, if no operation touches several.
func (h *history) split() [][]*operation {
	if h.header.Keys != "single" {
		return [][]*operation{h.operations}
	}
	models := make([][]*operation, h.header.KeyCount)
	for _, o := range h.operations {
		models[o.keys[0]] = append(models[o.keys[0]], o)
	}
	return models
}

// narrowed: by all that is known.
func narrowed(o *operation) span { return span{o.call, o.end} }

// recorded: by nothing but its call and its return.
func recorded(o *operation) span {
	if o.kind == "read" && !o.strong {
		return span{0, o.returned}
	}
	return span{o.called, o.returned}
}

func spansOf(guessed map[*operation]span) func(*operation) span {
	return func(o *operation) span {
		if s, placed := guessed[o]; placed {
			return s
		}
		return narrowed(o)
	}
}

func asPorcupine(operations []*operation, spanOf func(*operation) span) []porcupine.Operation {
	clients := map[string]int{}
	var list []porcupine.Operation
	for _, o := range operations {
		if _, known := clients[o.instance]; !known {
			clients[o.instance] = len(clients)
		}
		s := spanOf(o)
		list = append(list, porcupine.Operation{ClientId: clients[o.instance], Input: o, Call: s.call, Return: s.end})
	}
	return list
}

// draw: as it was recorded.
func draw(operations []*operation, timeout time.Duration, html string) {
	if html == "" {
		return
	}
	_, info := porcupine.CheckOperationsVerbose(model, asPorcupine(operations, recorded), timeout)
	if err := porcupine.VisualizePath(model, info, html); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", html, err)
	}
}

// Says what GitOps tools make of objects: kstatus, which Flux uses, by its own code, and Argo CD by running a
// health script as Argo CD does, with the same interpreter of Lua and fewer of its libraries.
//
//	health SCRIPT <objects >verdicts
//
// Standard input is a JSON object of objects by name; standard output has a verdict under each name.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kubejson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Kstatus        string `json:"kstatus"`
	KstatusMessage string `json:"kstatusMessage"`
	Argo           string `json:"argo"`
	ArgoMessage    string `json:"argoMessage"`
}

func main() {
	script, err := os.ReadFile(os.Args[1])
	check(err)
	text, err := io.ReadAll(os.Stdin)
	check(err)
	var objects map[string]any
	check(kubejson.Unmarshal(text, &objects)) // whole numbers stay whole
	verdicts := map[string]verdict{}
	for name, object := range objects {
		object, _ := object.(map[string]any)
		result, err := status.Compute(&unstructured.Unstructured{Object: object})
		check(err)
		health, message, err := argo(string(script), object)
		check(err)
		verdicts[name] = verdict{string(result.Status), result.Message, health, message}
	}
	check(json.NewEncoder(os.Stdout).Encode(verdicts))
}

// argo runs a health script: it finds the object as `obj`, and returns a table with `status` and `message`.
func argo(script string, object map[string]any) (string, string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, library := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		state.Push(state.NewFunction(library))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	health, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return "", "", fmt.Errorf("the script returns no table")
	}
	return lua.LVAsString(health.RawGetString("status")), lua.LVAsString(health.RawGetString("message")), nil
}

func value(state *lua.LState, of any) lua.LValue {
	switch of := of.(type) {
	case map[string]any:
		table := state.NewTable()
		for name, field := range of {
			table.RawSetString(name, value(state, field))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range of {
			table.Append(value(state, item))
		}
		return table
	case string:
		return lua.LString(of)
	case int64:
		return lua.LNumber(of)
	case float64:
		return lua.LNumber(of)
	case bool:
		return lua.LBool(of)
	}
	return lua.LNil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

"""The detective as a user runs it: detective.py DETECTIVE. Reads traces in both forms, names what explains them and what rules others
out, and says what is wrong with a file that is no trace."""
import pathlib
import subprocess
import sys
import tempfile

program = sys.argv[1]
folder = pathlib.Path(tempfile.mkdtemp(prefix="quern_detective_"))


def run(text, *options):
    (folder / "trace.csv").write_text(text)
    r = subprocess.run([program, folder / "trace.csv", *options], capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr


def verdicts(output):
    """convention -> verdict, of the first table."""
    table = output.split("convention ", 1)[1].split("arithmetic by itself")[0]
    return {line.split()[0]: " ".join(line.split()[2:]) for line in table.splitlines()[1:] if line.strip()}


def expect(what, condition, output):
    if not condition:
        sys.exit(f"{what}:\n{output}")


# 1 * 0.25 is 1 with TFLite's two roundings, 0 with one; 1.5 is 2 for half up and half even, -1.5 is -1 for half up alone.
code, out = run("# a comment\naccumulator, scale, zero_point, output\n1000,0.1,0,100\n\n1,0.25,0,1\n")
seen = verdicts(out)
expect("two roundings", code == 0 and seen["tflite"] == seen["cmsis_nn"] == "explains all 2 samples", out)
expect("one rounding", seen["tflite_single"] == "ruled out by sample 1: accumulator 1 gives 0, the trace has 1", out)
expect("every convention has a verdict", len(seen) == 28, out)

code, out = run("output,accumulator,multiplier,shift,zero_point\n-1,-3,1073741824,0,0\n2,3,1073741824,0,0\n")
seen = verdicts(out)
expect("ties upward", code == 0 and seen["vitis_ai"] == seen["tflite"] == seen["tvm"] == "explains all 2 samples", out)
expect("ties to even", seen["onnx_runtime"] == "ruled out by sample 0: accumulator -3 gives -2, the trace has -1", out)

code, out = run("accumulator,scale,zero_point,output\n1000,0.1,0,100\n", "--range", "0", "50")
expect("an output outside of the range", code != 0 and "outside of [0, 50]" in out, out)
code, out = run("accumulator,output\n1,1\n")
expect("no scale", code != 0 and "the first line must name the columns" in out, out)
code, out = run("accumulator,scale,output\n1,many,1\n")
expect("no number", code != 0 and "line 2: scale is 'many', which is no number" in out, out)
code, out = run("accumulator,scale,output\n1000,0.1,100\n,0.1,100\n")
expect("a missing number is no empty line", code != 0 and "line 3: accumulator is ''" in out, out)
code, out = run("\ufeffaccumulator,scale,output\r\n1000,0.1,100\r\n \r\n")
expect("a file from Windows", code == 0 and verdicts(out)["tflite"] == "explains all 1 samples", out)
for options, words in ((["--range", "5"], "needs two values"), (["--foo"], "is no option"), (["--range", "a", "9"], "detective: --range is 'a'")):
    code, out = run("accumulator,scale,output\n1000,0.1,100\n", *options)
    expect(str(options), code != 0 and words in out, out)
r = subprocess.run([program], capture_output=True, text=True)
expect("the demonstration", r.returncode == 0 and "explains all 1000 samples" in r.stdout, r.stdout + r.stderr)
print("as promised")

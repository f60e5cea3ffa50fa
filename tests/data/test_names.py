"""lib/data/names.py: names and lists of pictures as editors, spreadsheets and Macs leave them."""

import unicodedata

import pytest
from official_files import HELEN, helen_files, lfw_files, place

from lib import data

LIST = "1 , 7_1\n2 , 100_1\n3 , 23_1\n"


@pytest.mark.parametrize(
    "content",
    [
        LIST.encode("utf-8-sig"),
        LIST.encode("utf-16"),
        LIST.encode("utf-32"),
        LIST.replace(" , ", "\t").encode(),
        LIST.replace(" , ", ";").encode(),
        LIST.replace(" , ", " ").encode(),
        LIST.replace("\n", "\r\n").encode(),
        LIST.replace("\n", ",\n\n").encode(),
        LIST.replace("_1\n", "_1.jpg\n").encode(),
        b'"1","images/7_1.jpg"\n"2","images/100_1.JPG"\n3,"23_1"\n',
    ],
    ids=["mark", "utf-16", "utf-32", "tabs", "semicolons", "blanks", "crlf", "empty", "endings", "quotes"],
)
def test_a_list_saved_by_an_editor_or_spreadsheet_is_read(tmp_path, content):
    files = {name: file for name, file in helen_files().items() if not name.endswith(".txt")}
    root = place(tmp_path, files | {f"{HELEN}/exemplars.txt": content})
    assert data.load("helen", 8, root).ids == ("100_1", "23_1", "7_1")


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_names_of_a_mac_are_the_same_names(tmp_path, packed):
    def mac(files):
        return {unicodedata.normalize("NFD", name): content for name, content in files.items()}

    files = lfw_files(("Zoë_0001", "Müller_0001", "Åsa_0001"))
    labels = {name: content for name, content in files.items() if name.startswith("parts")}
    images = {name: content for name, content in files.items() if name not in labels}
    for number, mixed in enumerate((mac(images) | labels, images | mac(labels), mac(files))):
        dataset = data.load("lfw", 8, place(tmp_path / str(number), mixed, packed))
        assert {unicodedata.normalize("NFC", id) for id in dataset.ids} == {"Zoë_0001", "Müller_0001", "Åsa_0001"}
    files = helen_files(("zoë", "müller", "åsa"))
    lists = {name: content for name, content in files.items() if name.endswith(".txt")}
    assert data.load("helen", 8, place(tmp_path / "mac", mac(files) | lists, packed)).ids == ("müller", "zoë", "åsa")
    latin = {name: content.decode().encode("cp1252") for name, content in lists.items()}
    assert data.load("helen", 8, place(tmp_path / "latin", files | latin, packed)).ids == ("müller", "zoë", "åsa")
